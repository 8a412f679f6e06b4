"""``/license`` (reference, "License Management")."""

from typing import ClassVar

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.models import License
from inventory.selectors import license_current
from inventory.services.licenses import license_install
from inventory.views.outputs import LicenseOutput, TaskIdOutput
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.endpoint_spec import Operation
from provisioner.common.parsing import Input, parse_body
from provisioner.common.times import iso_milliseconds


class LicenseInput(Input):
    license = serializers.CharField(max_length=8192)


class LicenseViewSet(ApiViewSet):
    resource = "license"
    aliases: ClassVar = ("LICENSE",)
    operations: ClassVar = {
        "list": Operation("Get License", answer=LicenseOutput),
        "create": Operation(
            "Set License",
            "LicenseError InvalidLicense",
            body=LicenseInput,
            example={"license": "eyJhbGciOiJFZERTQSJ9..."},
            adds=TaskIdOutput,
        ),
    }

    def list(self, request: Request) -> Response:
        return Response(license_json(license_current()))

    def create(self, request: Request) -> Response:
        task_id = license_install(text=parse_body(LicenseInput, request)["license"])
        return success(taskId=task_id)


def license_json(current: License) -> dict[str, object]:
    """Return the licence in the format of the reference, without expirationDate if it does not
    expire, and without maxBackends if there is no limit.
    """
    fields: dict[str, object] = {"type": current.type}
    if current.max_backends is not None:
        fields["maxBackends"] = current.max_backends
    if current.expires_at is not None:
        fields["expirationDate"] = f"{iso_milliseconds(current.expires_at)}+0000"
    return fields
