"""Records in RFC 5424 format.

Control characters and line breaks in values are never sent. Each is replaced by its Unicode picture
(U+2400 and following), so that no value can forge a line, however the receiver splits lines.
``decisions/0009`` gives the reasons, also why no library is used.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

HOST = re.compile(r"[!-~]{1,255}")
APP_NAME = re.compile(r"[!-~]{1,48}")
PARAMETER_NAME = re.compile(r"[!#-<>-\\^-~]{1,32}")
BOM = b"\xef\xbb\xbf"

_LINE_BREAKS = "\x85\u2028\u2029"
_PICTURES = (
    dict.fromkeys(range(0x80, 0xA0), "\ufffd")
    | {code: chr(0x2400 + code) for code in range(0x20)}
    | {0x7F: "\u2421"}
    | {ord(line_break): "\u2424" for line_break in _LINE_BREAKS}
)
_ESCAPES = str.maketrans({character: f"\\{character}" for character in '"\\]'})


class LoggingType(StrEnum):
    """The types of the reference, "Forward Log"."""

    EVENT = "EVENT"
    COMMAND = "COMMAND"


class Level(StrEnum):
    """The levels of the reference, "Forward Log"."""

    FATAL = "FATAL"
    ERROR = "ERROR"
    WARN = "WARN"
    INFO = "INFO"


SEVERITIES = {Level.FATAL: 2, Level.ERROR: 3, Level.WARN: 4, Level.INFO: 6}
"""Critical, Error, Warning and Informational (RFC 5424, table 2)."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One event or command, with the names in the reference, "Forward Log".

    :raises ValueError: RFC 5424 does not allow the host, the app_name or the name of a parameter.
    """

    at: dt.datetime
    logging_type: LoggingType
    level: Level
    host: str
    app_name: str
    message: str
    parameters: Sequence[tuple[str, str]] = ()

    def __post_init__(self) -> None:
        rules = [(HOST, self.host), (APP_NAME, self.app_name)]
        rules += [(PARAMETER_NAME, name) for name, _ in self.parameters]
        for pattern, text in rules:
            if not pattern.fullmatch(text):
                raise ValueError(f"{text[:80]!r} does not match {pattern.pattern}")

    def encoded(self, *, facility: int, enterprise_number: int) -> bytes:
        """Return the record without framing. MSGID is the logging type; PROCID is omitted.

        :raises UnicodeEncodeError: a value contains half a surrogate pair.
        """
        priority = facility * 8 + SEVERITIES[self.level]
        at = self.at.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
        data = self._structured_data(enterprise_number)
        header = f"<{priority}>1 {at}Z {self.host} {self.app_name} - {self.logging_type} {data} "
        return header.encode() + BOM + visible(self.message).encode()

    def _structured_data(self, enterprise_number: int) -> str:
        if not self.parameters:
            return "-"
        parts = [
            f'{name}="{visible(value).translate(_ESCAPES)}"' for name, value in self.parameters
        ]
        return f"[parameters@{enterprise_number} {' '.join(parts)}]"


def visible(text: str) -> str:
    """Return the text with each control character and line break replaced by its picture."""
    return text.translate(_PICTURES)
