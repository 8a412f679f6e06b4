"""Repairs requests that Django cannot handle, before Django gets them."""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.utils.functional import cached_property
from gunicorn.http.errors import ParseException

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ChunkedBody:
    """A body of unknown length. The first read reads all of it.

    :raises RequestDataTooBig: every read raises this if the body is longer than ``most`` bytes.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int = -1) -> bytes:
        return self._whole.read(size)

    def readline(self, size: int = -1) -> bytes:
        return self._whole.readline(size)

    @cached_property
    def _whole(self) -> BytesIO:
        try:
            body = self._stream.read(self._most + 1)
        except ParseException as error:
            raise OSError("the data after the chunks cannot be read") from error
        if len(body) > self._most:
            raise RequestDataTooBig
        return BytesIO(body)


def tolerant(application: Application) -> Application:
    """Wrap a WSGI application so that it can handle more requests.

    Chunked bodies get the greatest allowed length as their length, because Django treats a body
    without a length as empty. They are read when the code asks for them, after the caller was
    authenticated. Charsets are removed: JSON and query strings are UTF-8, and some charsets make
    Django fail outside of its error handling.
    """

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_TRANSFER_ENCODING" in environ and environ.get("wsgi.input_terminated"):
            most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            body = ChunkedBody(environ["wsgi.input"], most)
            environ |= {"wsgi.input": body, "CONTENT_LENGTH": str(most)}
        content_type = environ.get("CONTENT_TYPE", "")
        if "charset" in content_type.lower():
            environ["CONTENT_TYPE"] = content_type.partition(";")[0]
        return application(environ, start_response)

    return serve
