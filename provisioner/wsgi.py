"""WSGI entry point of the API."""

import gc
import os

from django.core.wsgi import get_wsgi_application

from provisioner.common.wsgi import tolerant

CONTAINERS = 10_000
"""New containers after which the garbage collector looks at them. Python's default is 700. A page
of 100 volumes has more, so each one was examined while it was made: a tenth of its work."""

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")
application = tolerant(get_wsgi_application())
gc.set_threshold(CONTAINERS)
