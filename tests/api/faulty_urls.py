"""The API's paths, and additional paths that fail in ways that no real path does."""

import threading
from typing import Any

from django.core.exceptions import BadRequest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from provisioner import urls
from provisioner.access.views import ApiViewSet
from provisioner.common.api import success
from provisioner.common.pagination import Page, PageInput
from provisioner.common.parsing import Alias, Input, Whole, parse_body, parse_query
from tasks.models import Task

SECRET_DETAIL = "the-secret-detail-of-a-bug"


class InnerInput(Input):
    size = Whole()


class EchoInput(Input):
    mgmtPort = Whole(required=False)  # noqa: N815
    Certified = serializers.BooleanField(required=False)
    rack = serializers.CharField(required=False, allow_null=True, allow_blank=True, max_length=255)
    alias = Alias(required=False)
    ratio = serializers.FloatField(required=False, min_value=0, max_value=100)
    zones = serializers.ListField(child=serializers.CharField(), required=False, allow_null=True)
    inner = InnerInput(required=False)
    clientSecret = serializers.CharField(required=False, max_length=4)  # noqa: N815


class EchoViewSet(ApiViewSet):
    resource = "echo"
    open_to_all = True

    def create(self, request: Request, **kwargs: Any) -> Response:
        return success(fields=parse_body(EchoInput, request))

    def list(self, request: Request, **kwargs: Any) -> Response:
        page = parse_query(PageInput, request)
        rows = Page.of(page).cut(Task.objects.all(), "task_id")
        return success(fields=page, ids=[row.pk for row in rows])


class FaultyViewSet(ApiViewSet):
    resource = "faulty"
    open_to_all = True

    def list(self, request: Request) -> Response:
        raise RuntimeError(SECRET_DETAIL)

    def create(self, request: Request) -> Response:
        raise OperationalError(SECRET_DETAIL)

    def update(self, request: Request) -> Response:
        return success(what=object())


class UnlistedViewSet(ApiViewSet):
    """A view without a line in the permission table."""

    resource = "unlisted"

    def list(self, request: Request) -> Response:
        return success()


class HeldViewSet(ApiViewSet):
    """Answers only when it is released. ``begun`` counts the waiting requests."""

    resource = "tasks"
    begun = threading.Semaphore(0)
    goes_on_now = threading.Event()

    def list(self, request: Request) -> Response:
        self.begun.release()
        self.goes_on_now.wait(30)
        return success()


def plain_fault(request: HttpRequest) -> HttpResponse:
    raise {"bug": RuntimeError, "bad": BadRequest, "database": OperationalError}[
        request.GET["kind"]
    ](SECRET_DETAIL)


urlpatterns = [
    *urls.urlpatterns,
    path("echo", EchoViewSet.as_view({"post": "create", "get": "list"})),
    path("echo/<str:thing>", EchoViewSet.as_view({"get": "list"})),
    path("faulty", FaultyViewSet.as_view({"get": "list", "post": "create", "put": "update"})),
    path("unlisted", UnlistedViewSet.as_view({"get": "list"})),
    path("held", HeldViewSet.as_view({"get": "list"})),
    path("plain_fault", plain_fault),
]
handler400 = urls.handler400
handler403 = urls.handler403
handler404 = urls.handler404
handler500 = urls.handler500
