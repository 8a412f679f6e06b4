"""All paths. API paths have no trailing slash here; middleware makes it optional."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView


@csrf_exempt
def home(request: HttpRequest) -> HttpResponseBase:
    """Redirect browsers that open ``/`` to the description of the API."""
    if request.method not in {"GET", "HEAD"}:
        raise Http404
    return redirect("/docs")


urlpatterns: list[URLPattern | URLResolver] = [
    path("", home),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    # paths of frequent calls come first, because Django tries them one after the other
    path("", include("tasks.urls")),
    path("", include("volumes.urls")),
    path("", include("provisioner.access.urls")),
    path("", include("events.urls")),
    path("", include("inventory.urls")),
]

handler400 = "provisioner.common.api.bad_request"
handler403 = "provisioner.common.api.forbidden"
handler404 = "provisioner.common.api.not_found"
handler500 = "provisioner.common.api.server_error"
