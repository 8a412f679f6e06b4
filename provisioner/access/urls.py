from django.urls import URLPattern, path
from drf_spectacular.views import SpectacularJSONAPIView

from provisioner.access import openapi  # noqa: F401 - registers the descriptions it holds
from provisioner.access.health import HealthzViewSet, ReadyzViewSet
from provisioner.access.token_views import TokenViewSet

urlpatterns: list[URLPattern] = [
    path("healthz", HealthzViewSet.as_view({"get": "list"})),
    path("readyz", ReadyzViewSet.as_view({"get": "list"})),
    path("token", TokenViewSet.as_view({"post": "create"})),
    path(
        "openapi.json",
        SpectacularJSONAPIView.as_view(authentication_classes=[], permission_classes=[]),
    ),
]
