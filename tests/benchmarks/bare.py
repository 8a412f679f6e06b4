"""The view that figures are compared with: a bare DRF view with one SELECT by primary key, with the
same gunicorn settings and the same database, but without middleware, credentials and log.
"""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.bare_settings"

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from inventory.models import Host  # noqa: E402


class HostView(APIView):
    def get(self, request: Request, host: str) -> Response:
        return Response(list(Host.objects.filter(pk=host).values("uuid", "name", "nqn")))


urlpatterns = [
    path("hosts/<host>", HostView.as_view()),
    path("readyz", lambda request: HttpResponse()),  # HAProxy asks for it
]
