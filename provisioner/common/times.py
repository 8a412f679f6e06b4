"""Times in the format of the API."""

import datetime as dt

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


def epoch_milliseconds(at: dt.datetime) -> int:
    return (at - _EPOCH) // _MILLISECOND


def iso_milliseconds(at: dt.datetime) -> str:
    """Return ``yyyy-MM-dd'T'HH:mm:ss.SSS`` in UTC, without a zone. Dates of tasks have this
    format.
    """
    return at.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
