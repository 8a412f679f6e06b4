"""JSON log lines with the ids of request and task, and the caller's name."""

import logging
from contextvars import ContextVar

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
