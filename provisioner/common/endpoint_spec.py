"""Describes the input and output of an operation. ``schema.py`` generates OpenAPI from it."""

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
    """Describes an object in an answer that has exactly these fields. For speed, views build dicts
    instead of serializing.

    ``extensions``: fields beyond the reference. ``example``: an object as clients see it.
    """

    extensions: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Operation:
    """One entry in the ``operations`` of a view. Its key there is the action.

    ``codes``: result codes besides Success, separated by spaces; InvalidInput is implied. ``path``,
    ``query``, ``body``: the inputs; ids in the path are implied. ``example``: an example of the
    body.

    The answer is one of three: the envelope, on success with the fields of ``adds``; the JSON of
    ``answer``, where a list of one class means an array; or text of the type ``media``. With
    ``answer``, ``media`` is the type of a stream that clients can request instead.

    ``extension``: the reference has no such operation. ``repeatable``: the operation recognises
    retries of a request by their ``Idempotency-Key``.
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
