from django.urls import URLPattern, path

from provisioner.access.health import HealthzViewSet, ReadyzViewSet
from provisioner.access.openapi import OpenApiViewSet
from provisioner.access.token_views import TokenViewSet

urlpatterns: list[URLPattern] = [
    path("healthz", HealthzViewSet.as_view({"get": "list"})),
    path("readyz", ReadyzViewSet.as_view({"get": "list"})),
    path("token", TokenViewSet.as_view({"post": "create"})),
    path("openapi.json", OpenApiViewSet.as_view({"get": "list"})),
]
