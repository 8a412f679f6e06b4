from django.urls import URLPattern, path

from inventory.views.auth_server import AuthServerViewSet
from inventory.views.backends import InfoViewSet
from inventory.views.hosts import HostProbeViewSet
from inventory.views.probe import ProbeViewSet

urlpatterns: list[URLPattern] = [
    path(
        "auth_server",
        AuthServerViewSet.as_view({"get": "list", "post": "create", "delete": "destroy"}),
    ),
    path("info", InfoViewSet.as_view({"get": "list"})),
    path("probe", ProbeViewSet.as_view({"post": "create"})),
    path("host_probe", HostProbeViewSet.as_view({"post": "create"})),
]
