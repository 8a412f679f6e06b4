"""All paths. The API's are declared without a trailing slash: middleware makes it optional."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("provisioner.access.urls")),
    path("", include("inventory.urls")),
    path("", include("tasks.urls")),
    path("", include("volumes.urls")),
]

handler400 = "provisioner.common.api.bad_request"
handler403 = "provisioner.common.api.forbidden"
handler404 = "provisioner.common.api.not_found"
handler500 = "provisioner.common.api.server_error"
