"""Errors: each has one sentence, and an exit code that scripts can rely on."""

from enum import IntEnum
from typing import Any

import click

from provisionerctl.units import printable


class Exit(IntEnum):
    """Exit codes. They are never changed and never reused."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    NOT_FOUND = 3
    ALREADY = 4
    DENIED = 5
    UNAVAILABLE = 6
    NO_ROOM = 7
    TASK_FAILED = 8
    NOT_CONFIRMED = 9


MEANINGS = {
    Exit.OK: "Done.",
    Exit.REFUSED: "The API refused the request for a reason without its own exit code, or Ctrl-C "
    "was pressed.",
    Exit.USAGE: "The command line, the configuration file or a value is wrong.",
    Exit.NOT_FOUND: "A named object does not exist, or the caller may not see it.",
    Exit.ALREADY: "The request would change nothing, or the object already exists.",
    Exit.DENIED: "The credentials are missing, wrong or not sufficient.",
    Exit.UNAVAILABLE: "No answer arrived, or the API or a node cannot serve now. Try again later.",
    Exit.NO_ROOM: "No storage node is suitable, or a budget or the licence is exhausted.",
    Exit.TASK_FAILED: "A task or drain that the command waited for failed or was stopped.",
    Exit.NOT_CONFIRMED: "The command was not confirmed, or no terminal was there for the question "
    "and `--yes` is missing.",
}
CODES = {
    Exit.USAGE: "InvalidInput InvalidLocationValue InvalidReplicas InvalidSize BadRequest",
    Exit.NOT_FOUND: "NotExists TenantNotFound ReplicaNotFound VolumeNoFound VolumeNotFound "
    "HostNotFound TaskNotFound NoTask NotFound NoBackendWithHostIdExists",
    Exit.ALREADY: "AlreadyExists TenantAlreadyExists BackendWithHostIdAlreadyExists "
    "AlreadyPublished VolumeNotPublished TaskAlreadyRunning TaskEnded NoTerminating NoChange",
    Exit.DENIED: "Unauthorized Forbidden",
    Exit.UNAVAILABLE: "NotAvailable CommunicationError SyslogNotAvailable PublishFailed "
    "UnpublishFailed ServiceUnavailable TooManyRequests",
    Exit.NO_ROOM: "NoBackends NoMatchingBackend NotEnoughMatchingBackends NoFreeSpace "
    "TenantCapacityExceeded LicenseError NoBackendToMigrateReplica SameRackNotAllowed "
    "TopologyConstraints",
}
"""Result codes of the API by exit code. All other codes exit with ``Exit.REFUSED``."""
OF_CODES = {code: exit_code for exit_code, codes in CODES.items() for code in codes.split()}


NO_CHANGE = "No change was given."


class Failure(click.ClickException):
    """An error with a sentence for the operator. The command ends with ``exit_code``."""

    def __init__(self, message: str, exit_code: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc] # click shows it as the class has it


class Refused(Failure):
    """The result code of the answer is not Success. ``body`` is the answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.status = str(body["status"])
        super().__init__(
            printable(f"{self.status}: {body['description']}"),
            OF_CODES.get(self.status, Exit.REFUSED),
        )


class NoAnswer(Failure):
    """There was no answer. It is not known whether the request had an effect, unless the message
    says so.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.UNAVAILABLE)
