"""Describes what an operation takes and returns; ``schema.py`` makes OpenAPI from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rest_framework import serializers

from provisioner.common.parsing import Input

NODE = "0c:c4:7a:88:09:ee"
HOST = "5836c3cc-1c7e-4f2e-9698-e39175a41bd7"
TASK = "7a0f5c2e-52a1-4a53-8f9b-1d0c9d0b8e55"
"""Ids of examples."""


class Output(serializers.Serializer[Any]):
    """Describes an object of an answer, with exactly these fields. Views build dicts, for speed.

    ``extensions``: fields beyond the reference. ``example``: an object as clients see it.
    """

    extensions: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Operation:
    """One entry of a view's ``operations``; its key there is the action.

    ``codes``: result codes besides Success, separated by spaces; InvalidInput is implied.
    ``path``, ``query``, ``body``: the inputs; ids in the path are implied.
    ``example``: an example of the body.
    The answer is the envelope, on success with the fields of ``adds``; or ``answer`` (a list of one
    class means a JSON array of it); or text of the type ``media``. With ``answer``, ``media`` is
    the type of a stream that a client may ask for instead.
    ``extension``: the reference has no such operation. ``repeatable``: the operation recognises
    repeats of a request by their ``Idempotency-Key``.
    """

    summary: str
    codes: str = ""
    path: type[Input] | None = None
    query: type[Input] | None = None
    body: type[Input] | None = None
    example: Mapping[str, Any] | None = None
    adds: type[Output] | None = None
    answer: type[Output] | list[type[Output]] | None = None
    media: str = ""
    extension: bool = False
    repeatable: bool = False
