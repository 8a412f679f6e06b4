"""The base of all views."""

import hashlib
from typing import Any, ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from provisioner.access.callers import Caller
from provisioner.common.operations import Operation
from provisioner.common.parsing import path_identifiers


class ApiViewSet(ViewSet):
    """A resource of the API: ``resource`` and the action name its line in the table of permissions.

    ``open_to_all``: credentials are not even looked at, so that wrong ones do no harm.
    ``operations``: by action, what each takes and answers. ``aliases``: other names that its path
    begins with.
    """

    resource: ClassVar[str]
    operations: ClassVar[dict[str, Operation]] = {}
    aliases: ClassVar[tuple[str, ...]] = ()
    open_to_all: ClassVar[bool] = False
    http_method_names = [  # noqa: RUF012 - View declares it of the instance
        "get",
        "head",
        "post",
        "put",
        "patch",
        "delete",
    ]

    def get_authenticators(self) -> list[BaseAuthentication]:
        return [] if self.open_to_all else super().get_authenticators()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        path_identifiers(kwargs)

    def request_key(self, content: object) -> str:
        """What a request and its repeats have in common, and no other: a digest of the header
        ``Idempotency-Key``, the path and the parsed content. Empty without the header.
        """
        given = self.request.headers.get("Idempotency-Key")
        if not given:
            return ""
        return hashlib.sha256(repr((given, self.request.path, content)).encode()).hexdigest()

    @property
    def caller(self) -> Caller:
        assert isinstance(self.request.user, Caller)
        return self.request.user
