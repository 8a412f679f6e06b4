"""WSGI entry point of the API."""

import os

from django.core.wsgi import get_wsgi_application

from provisioner.common.wsgi import tolerant

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")
application = tolerant(get_wsgi_application())
