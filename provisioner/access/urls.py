from django.urls import URLPattern, path

from provisioner.access.health import HealthzViewSet, ReadyzViewSet
from provisioner.access.openapi import DocumentationViewSet, OpenApiViewSet
from provisioner.access.token_views import TokenViewSet

urlpatterns: list[URLPattern] = [
    path("healthz", HealthzViewSet.as_view({"get": "list"})),
    path("readyz", ReadyzViewSet.as_view({"get": "list"})),
    path("token", TokenViewSet.as_view({"post": "create"})),
    path("openapi.json", OpenApiViewSet.as_view({"get": "list"}), name="openapi"),
    path("docs", DocumentationViewSet.as_view({"get": "swagger"})),
    path("redoc", DocumentationViewSet.as_view({"get": "redoc"})),
]
