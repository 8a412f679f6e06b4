"""The base of all views."""

from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.viewsets import ViewSet

from provisioner.access.callers import Caller
from provisioner.common.parsing import path_identifiers


class ApiViewSet(ViewSet):
    """A resource of the API: ``resource`` and the action name its line in the table of permissions."""

    resource: ClassVar[str]
    open_to_all: ClassVar[bool] = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        path_identifiers(kwargs)

    @property
    def caller(self) -> Caller:
        assert isinstance(self.request.user, Caller)
        return self.request.user
