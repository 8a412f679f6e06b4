"""URLs of the pool. The URLs of backends, hosts and ``/info`` are in the app ``volumes``."""

from django.urls import URLPattern, path

from inventory.views.auth_server import AuthServerViewSet
from inventory.views.inventory import InventoryViewSet
from inventory.views.license import LicenseViewSet
from inventory.views.probe import ProbeViewSet
from inventory.views.syslog import ForwardLogViewSet, SyslogViewSet

LICENSE = LicenseViewSet.as_view({"get": "list", "post": "create"})

urlpatterns: list[URLPattern] = [
    path(
        "auth_server",
        AuthServerViewSet.as_view({"get": "list", "post": "create", "delete": "destroy"}),
    ),
    path("probe", ProbeViewSet.as_view({"post": "create"})),
    path("inventory", InventoryViewSet.as_view({"get": "list"})),
    path("reset_inventory", InventoryViewSet.as_view({"delete": "destroy"})),
    path("license", LICENSE),
    path("LICENSE", LICENSE),
    path("syslog", SyslogViewSet.as_view({"get": "list"})),
    path("forward_log", ForwardLogViewSet.as_view({"post": "create"})),
]
