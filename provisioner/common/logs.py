"""JSON log lines with the ids of request and task, and the caller's name."""

import logging
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter as BaseFormatter

request_id: ContextVar[str] = ContextVar("request_id", default="")
task_id: ContextVar[str] = ContextVar("task_id", default="")
caller: ContextVar[str] = ContextVar("caller", default="")
caller_type: ContextVar[str] = ContextVar("caller_type", default="caller")
job: ContextVar[str] = ContextVar("job", default="")


class ContextFilter(logging.Filter):
    """Adds the ids of the current request and task, and the caller's name, to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        record.task_id = task_id.get()
        record.caller = caller.get()
        return True


class JsonFormatter(BaseFormatter):
    """Formats each record as one line of JSON: time, level, logger, message, ids, and ``extra``."""

    def __init__(self) -> None:
        super().__init__(
            "{asctime}{levelname}{name}{message}{request_id}{task_id}{caller}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )


def configuration(*, level: str, form: str) -> dict[str, Any]:
    """What :func:`logging.config.dictConfig` takes: records of this level and above go to stderr.
    ``form`` is ``json`` or ``text``.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"context": {"()": ContextFilter}},
        "formatters": {
            "json": {"()": JsonFormatter},
            "text": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"},
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "filters": ["context"],
                "formatter": form,
            }
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # the request log and the exception handler log the same, with the request id
            "django.request": {"level": "CRITICAL"},
            "django.server": {"level": "WARNING"},
            # three lines for each run of each periodic job; jobs log what they did themselves
            "celery.app.trace": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            # DEBUG would log the parameters of statements, including password hashes
            "django.db.backends": {"level": "INFO"},
            "django": {"handlers": [], "propagate": True},
        },
    }
