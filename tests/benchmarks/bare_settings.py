"""Our settings without the parts that the API adds to a request, so that only the minimum of Django
and DRF is left.
"""

from provisioner.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.bare"
MIDDLEWARE = []
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
