from django.urls import URLPattern, path

from provisioner.access.health import HealthzViewSet, ReadyzViewSet
from provisioner.access.openapi import DocumentationViewSet, OpenApiViewSet
from provisioner.access.token_views import TokenViewSet
from provisioner.access.user_views import RevokedTokensViewSet, UsersViewSet

urlpatterns: list[URLPattern] = [
    path("healthz", HealthzViewSet.as_view({"get": "list"})),
    path("readyz", ReadyzViewSet.as_view({"get": "list"})),
    path("token", TokenViewSet.as_view({"post": "create"})),
    path("revoked_tokens", RevokedTokensViewSet.as_view({"get": "list", "post": "create"})),
    path("users", UsersViewSet.as_view({"get": "list"})),
    path("openapi.json", OpenApiViewSet.as_view({"get": "list"}), name="openapi"),
    path("docs", DocumentationViewSet.as_view({"get": "swagger"})),
    path("redoc", DocumentationViewSet.as_view({"get": "redoc"})),
]
