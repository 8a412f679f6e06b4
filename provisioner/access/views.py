"""The base of all views."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import quote

from django.core.exceptions import SuspiciousOperation
from django.db import OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from provisioner.access.authentication import (
    BearerAuthentication,
    admission_watch,
    bearer_watch,
    credentials_of,
)
from provisioner.access.concurrency import RequestTurn, others_work
from provisioner.access.principals import Caller
from provisioner.common.api import sendable
from provisioner.common.database import is_conflict
from provisioner.common.endpoint_spec import Operation
from provisioner.common.known_answers import cache_answer_while
from provisioner.common.long_lists import PIECE_ROWS, Listing, Sender
from provisioner.common.moment import read_at_one_moment
from provisioner.common.pagination import Page
from provisioner.common.parsing import ignored_fields, path_identifiers
from provisioner.common.results import InvalidInput
from provisioner.common.writes import require_writes

TELLS_IGNORED = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
IGNORED_AT_MOST = 20
IGNORED_LENGTH = 128
CONFLICTS_AT_MOST = 3
LONGEST_KEY = 255


class ApiViewSet(ViewSet):
    """A resource of the API. ``resource`` and the action select an entry of the permission table.

    ``open_to_all``: credentials are not checked at all, so wrong credentials do no harm.
    ``operations``: the input and output of each action. ``aliases``: other names for the first
    segment of the path. ``allowed_while_barred``: writes of this resource change nothing on nodes,
    so they are accepted even while other writes are barred.
    """

    resource: ClassVar[str]
    operations: ClassVar[dict[str, Operation]] = {}
    aliases: ClassVar[tuple[str, ...]] = ()
    open_to_all: ClassVar[bool] = False
    allowed_while_barred: ClassVar[bool] = False
    _slot: RequestTurn
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

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Handle the request. The turn lasts until the answer is rendered, which may take most
        time.
        """
        with ExitStack() as self._held:
            answer = super().dispatch(request, *args, **kwargs)
            return answer.render() if isinstance(answer, Response) else answer

    def perform_authentication(self, request: Request) -> None:
        """:raises TooManyAtOnce: HTTP 429, the caller has too many concurrent requests."""
        super().perform_authentication(request)
        if isinstance(request.user, Caller):
            self._slot = RequestTurn(request.user)
            self._held.callback(self._slot.close)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        path_identifiers(kwargs)
        if request.method not in SAFE_METHODS and not self.allowed_while_barred:
            require_writes()
        name = str(request.method).lower()
        if hasattr(self, name) and (name == "get" or self._is_keyed(request)):
            setattr(self, name, partial(_retry_conflicts, getattr(self, name)))

    def _is_keyed(self, request: Request) -> bool:
        """Whether the API would recognise a retry of this request."""
        operation = self.operations.get(self.action or "")
        return bool(operation and operation.repeatable and request.headers.get("Idempotency-Key"))

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        """Add the names of ignored request fields: as ``ignoredFields`` to an envelope, and as the
        header ``Ignored-Fields`` to every answer.
        """
        if response.status_code in TELLS_IGNORED and (ignored := self._ignored(request)):
            response.headers["Ignored-Fields"] = ", ".join(quote(name) for name in ignored)
            data = getattr(response, "data", None)  # a streamed answer has no data
            if isinstance(data, dict) and "status" in data:
                data["ignoredFields"] = ignored
        return super().finalize_response(request, response, *args, **kwargs)

    def _ignored(self, request: Request) -> list[str]:
        """Return up to IGNORED_AT_MOST ignored names, each cut to IGNORED_LENGTH characters."""
        operation = self.operations.get(self.action or "")
        if operation is None:
            return []
        names: list[str] = []
        # the names in an unreadable request are unknown
        with suppress(APIException, SuspiciousOperation):
            names += ignored_fields(operation.query, request.query_params)
            if operation.body:
                assert isinstance(request.data, Mapping)  # JSONObjectParser returns nothing else
                names += ignored_fields(operation.body, request.data)
        return [sendable(name[:IGNORED_LENGTH]) for name in names[:IGNORED_AT_MOST]]

    def listed(self, page: Page, listing: Listing) -> HttpResponseBase:
        """The answer with one page of a list, of any length, as of one moment.

        :raises TooManyAtOnce: HTTP 429, the list is long, and other long lists took too long.
        """
        items, has_more = read_at_one_moment(
            lambda: listing.first(page), is_one_statement=listing.is_one_statement
        )
        if not has_more:
            return Response(items)
        ends = self._slot.exchange_for_list()
        sender = Sender(self._held.pop_all(), ends, others_work)
        return sender.response(self.request, listing.pieces(page, PIECE_ROWS))

    def cache_answer_while(self, is_valid: Callable[[], bool]) -> None:
        """Allow this process to repeat the present answer to identical requests while
        ``is_valid()`` holds (:mod:`provisioner.common.known_answers`). ``is_valid`` must not wait
        for anything. It is asked last: before, the token of the caller must still be valid. Answers
        to users with a password are not cached.

        Such an answer needs no turn. If it did, polls of a caller without a free turn would need
        ten times the CPU, in the moment when the process has too much work already.
        """
        scheme, token = credentials_of(self.request)
        if scheme != BearerAuthentication.scheme:
            return
        is_admitted = bearer_watch(token)
        if admission_watch(self.request)():  # the authorization server may have changed
            cache_answer_while(lambda: is_admitted() and is_valid())

    def idempotency_digest(self, content: object) -> str:
        """Return a digest that retries of a request share, and no other request has. It covers the
        header ``Idempotency-Key``, the path and the parsed content. Without the header it is empty.

        :raises InvalidInput: the key is too long.
        """
        given = self.request.headers.get("Idempotency-Key")
        if not given:
            return ""
        if len(given) > LONGEST_KEY:
            raise InvalidInput.of("Idempotency-Key", given, f"has at most {LONGEST_KEY} characters")
        return hashlib.sha256(repr((given, self.request.path, content)).encode()).hexdigest()

    def own_host(self, named: str | None) -> str | None:
        """Return the host that a call concerns: the host that the call names, or the host that its
        token is bound to. None: any host.

        :raises PermissionDenied: the token is bound to another host. The answer is HTTP 403.
        """
        bound = self.caller.host_id
        if bound is not None and named not in {None, bound}:
            raise PermissionDenied(f"this token is valid for host {bound!r}, not for {named!r}")
        return named if bound is None else bound

    @property
    def caller(self) -> Caller:
        assert isinstance(self.request.user, Caller)
        return self.request.user


def _retry_conflicts(
    handle: Callable[..., HttpResponseBase], *args: Any, **kwargs: Any
) -> HttpResponseBase:
    """Handle the request. After a conflict with another transaction, handle it again, at most
    CONFLICTS_AT_MOST times.

    :raises OperationalError: the last attempt failed, too.
    """
    tries = 0
    while True:
        try:
            return handle(*args, **kwargs)
        except OperationalError as error:
            tries += 1
            if tries > CONFLICTS_AT_MOST or not is_conflict(error):
                raise
