"""Django settings. Values that differ between machines are in :mod:`provisioner.environment`."""

from pathlib import Path
from typing import Any

import dj_database_url
from django.templatetags.static import static

from provisioner import __version__
from provisioner.common import logs
from provisioner.common.postgresql.session import options as postgresql_options
from provisioner.environment import load

ENVIRONMENT = load()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = ENVIRONMENT.secret_key.get_secret_value()
DEBUG = ENVIRONMENT.debug
ALLOWED_HOSTS = list(ENVIRONMENT.allowed_hosts)
ROOT_URLCONF = "provisioner.urls"
WSGI_APPLICATION = "provisioner.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
FORMAT_MODULE_PATH = "provisioner.common.formats"
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = ENVIRONMENT.max_body_bytes

INSTALLED_APPS = [
    "provisioner",  # first: its templates are used before those of others
    "unfold.apps.BasicAppConfig",
    "provisioner.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_prometheus",
    "events",
    "tasks",
    "inventory",
    "volumes",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "provisioner.common.middleware.RequestLog",
    "provisioner.common.middleware.OptionalTrailingSlash",
    "provisioner.access.client_certificate.ClientCertificate",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "provisioner.console.middleware.Sessions",
    "django.middleware.csrf.CsrfViewMiddleware",
    "provisioner.console.middleware.Authentication",
    "provisioner.console.middleware.Messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "provisioner.access.admin_login.AdministrationPages",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    url = ENVIRONMENT.database_url.get_secret_value()
    if not url:
        url = f"sqlite:///{ENVIRONMENT.data_dir.resolve() / 'provisioner.sqlite3'}"
    database: dict[str, Any] = dict(dj_database_url.parse(url))
    options = database.setdefault("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        options.update(
            transaction_mode="IMMEDIATE",
            timeout=20,
            init_command="PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        )
        database["CONN_MAX_AGE"] = None
        # a file, as in the embedded form, because threads would share one in-memory connection
        database["TEST"] = {"NAME": f"{database['NAME']}.test"}
        return database
    database["ENGINE"] = "provisioner.common.postgresql"
    database["OPTIONS"] = postgresql_options(options, pool_size=ENVIRONMENT.pool_size)
    if not ENVIRONMENT.pool_size:
        database |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    return database


DATABASES = {"default": _database()}

AUTHENTICATION_BACKENDS = ["provisioner.access.admin_login.GuardedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# the look of the console; docs/decisions/0033-console.md
UNFOLD = {
    "SITE_TITLE": f"Provisioner {__version__}",
    "SITE_HEADER": "Provisioner",
    "SITE_SUBHEADER": f"NVMe-oF storage, {__version__}",
    "SITE_SYMBOL": "database",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": False,
    "STYLES": [lambda _request: static("provisioner/console.css")],
    "SCRIPTS": [lambda _request: static("provisioner/console.js")],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "navigation": "provisioner.console.navigation.pages",
    },
}

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# not in the embedded form: browsers would then require https for everything on localhost
SECURE_HSTS_SECONDS = 0 if ENVIRONMENT.is_embedded else 31_536_000
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if ENVIRONMENT.trusted_proxies else None
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "provisioner.access.authentication.BasicAuthentication",
        "provisioner.access.authentication.BearerAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["provisioner.access.permissions.RoleAllows"],
    "DEFAULT_PARSER_CLASSES": ["provisioner.common.parsing.JSONObjectParser"],
    "DEFAULT_RENDERER_CLASSES": ["provisioner.common.rendering.OrjsonRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "provisioner.common.api.AlwaysJSON",
    "DEFAULT_SCHEMA_CLASS": "provisioner.common.schema.OperationSchema",
    "EXCEPTION_HANDLER": "provisioner.common.api.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Provisioner",
    "DESCRIPTION": "Control plane of a pool of NVMe-oF storage nodes.",
    "VERSION": "1.1",
    "OAS_VERSION": "3.1.1",
    "PREPROCESSING_HOOKS": ["provisioner.common.schema.wire_paths"],
    "POSTPROCESSING_HOOKS": [],
    "APPEND_COMPONENTS": {
        "schemas": {
            "IgnoredFields": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Names of fields in the query and the body that the operation does "
                "not know. They had no effect. Absent if all names are known.",
                "x-extension": True,
            }
        },
        "headers": {
            "IgnoredFields": {
                "description": "The names of `ignoredFields`, percent-encoded and separated by "
                "commas. Also sent with answers that are arrays.",
                "schema": {"type": "string"},
            }
        },
    },
    "COMPONENT_SPLIT_REQUEST": True,  # a text may be blank in an answer, but not in a request
}

PROMETHEUS_EXPORT_MIGRATIONS = False

LOGGING = logs.configuration(level=ENVIRONMENT.log_level, form=ENVIRONMENT.log_format)

CELERY_BROKER_URL = ENVIRONMENT.broker_url.get_secret_value()
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker survives any outage of Redis
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, float] = (
    {"polling_interval": 0.1}
    if CELERY_BROKER_URL.startswith("memory")
    else {
        "socket_connect_timeout": 2,
        "socket_timeout": 10,  # workers wait for messages; provisioner/sending.py waits less
        # a request that sends a job to a dead broker continues after one retry; the default
        # retries for 6 s
        "max_retries": 1,
        "interval_start": 0,
    }
)
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BEAT_SCHEDULER = (
    "celery.beat:Scheduler"
    if CELERY_BROKER_URL.startswith("memory")
    else "provisioner.beat.Scheduler"
)
CELERY_REDBEAT_REDIS_URL = CELERY_BROKER_URL
CELERY_REDBEAT_REDIS_OPTIONS: dict[str, object] = {}
CELERY_TIMEZONE = "UTC"
