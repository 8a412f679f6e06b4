"""Result codes, and the exception that carries them to the client."""

from enum import StrEnum


class ResultCode(StrEnum):
    """All codes that ``status`` of an answer may have. Codes are never changed and never reused."""

    Success = "Success"
    InvalidInput = "InvalidInput"
    AlreadyExists = "AlreadyExists"
    NotExists = "NotExists"
    # inventory
    NoGroups = "NoGroups"
    InvalidLocationValue = "InvalidLocationValue"
    NotAvailable = "NotAvailable"
    BackendWithHostIdAlreadyExists = "BackendWithHostIdAlreadyExists"
    BackendHasVolumes = "BackendHasVolumes"
    CommunicationError = "CommunicationError"
    LicenseError = "LicenseError"
    InvalidLicense = "InvalidLicense"
    SyslogNotAvailable = "SyslogNotAvailable"
    HostAvailable = "HostAvailable"
    # tenants
    TenantAlreadyExists = "TenantAlreadyExists"
    TenantNotFound = "TenantNotFound"
    TenantHasVolumes = "TenantHasVolumes"
    TenantCapacityExceeded = "TenantCapacityExceeded"
    NoBackends = "NoBackends"
    # volumes
    InvalidReplicas = "InvalidReplicas"
    NoMatchingBackend = "NoMatchingBackend"
    NotEnoughMatchingBackends = "NotEnoughMatchingBackends"
    NoBackendWithHostIdExists = "NoBackendWithHostIdExists"
    VolumeIsInUse = "VolumeIsInUse"
    InvalidSize = "InvalidSize"
    NoFreeSpace = "NoFreeSpace"
    # replicas
    NotReplicated = "NotReplicated"
    Replicated = "Replicated"
    ReplicaTerminating = "ReplicaTerminating"
    TopologyConstraints = "TopologyConstraints"
    NotInUse = "NotInUse"
    SameRackNotAllowed = "SameRackNotAllowed"
    AllReplicasDown = "AllReplicasDown"
    NoTerminating = "NoTerminating"
    ReplicaNotFound = "ReplicaNotFound"
    # migration
    VolumeNoFound = "VolumeNoFound"
    NotEnoughReplicas = "NotEnoughReplicas"
    TaskAlreadyRunning = "TaskAlreadyRunning"
    NoBackendToMigrateReplica = "NoBackendToMigrateReplica"
    VolumePublishedToMultipleHosts = "VolumePublishedToMultipleHosts"
    # connectivity
    HostNotFound = "HostNotFound"
    VolumeNotFound = "VolumeNotFound"
    PublishFailed = "PublishFailed"
    UnpublishFailed = "UnpublishFailed"
    AlreadyPublished = "AlreadyPublished"
    VolumeNotPublished = "VolumeNotPublished"
    VolumeNotInHost = "VolumeNotInHost"
    # tasks
    TaskNotFound = "TaskNotFound"
    UpdateTaskFailed = "UpdateTaskFailed"
    TaskEnded = "TaskEnded"
    NoTask = "NoTask"
    OngoingTask = "OngoingTask"
    TaskBelongsToOtherHost = "TaskBelongsToOtherHost"
    # authorization server
    CreateProvisionerClientTokenFailed = "CreateProvisionerClientTokenFailed"
    CreateBackendsClientTokenFailed = "CreateBackendsClientTokenFailed"
    DecryptProvisionerClientTokenFailed = "DecryptProvisionerClientTokenFailed"
    DecryptBackendsClientTokenFailed = "DecryptBackendsClientTokenFailed"
    ProvisionerClientUnauthorized = "ProvisionerClientUnauthorized"
    BackendsClientUnauthorized = "BackendsClientUnauthorized"
    NoChange = "NoChange"
    InvalidAuthMode = "InvalidAuthMode"
    # transport: these keep their HTTP code
    BadRequest = "BadRequest"
    Unauthorized = "Unauthorized"
    Forbidden = "Forbidden"
    NotFound = "NotFound"
    MethodNotAllowed = "MethodNotAllowed"
    Conflict = "Conflict"
    PayloadTooLarge = "PayloadTooLarge"
    UnsupportedMediaType = "UnsupportedMediaType"
    TooManyRequests = "TooManyRequests"
    InternalError = "InternalError"
    ServiceUnavailable = "ServiceUnavailable"


class ProvisionerError(Exception):
    """An expected refusal with a result code. ``description`` is sent to the client. ``internal``
    is only logged.
    """

    code: ResultCode

    def __init__(self, description: str, *, internal: str = "") -> None:
        super().__init__(description)
        self.description = description
        self.internal = internal


class InvalidInput(ProvisionerError):
    """A field is missing, has a wrong type or is out of range. Every operation answers HTTP 400
    then.
    """

    code = ResultCode.InvalidInput

    @classmethod
    def of(cls, field: str, value: object, rule: str) -> "InvalidInput":
        """An error that names the field, the value and the broken rule, both shortened."""
        return cls(f"{field} = {_shortened(repr(value), 80)}: {_shortened(rule, 200)}")


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
