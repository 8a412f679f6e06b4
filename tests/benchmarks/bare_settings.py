"""Our settings without what the API adds to a request: the least that Django and DRF do."""

from provisioner.settings import *  # noqa: F403

ROOT_URLCONF = "tests.benchmarks.bare"
MIDDLEWARE = []
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
