"""What an operation takes and answers, told beside its view: ``schema.py`` makes OpenAPI of it."""

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
    """An object of an answer, and nothing but these fields; views build dicts, for speed.

    ``extensions``: fields beyond the reference. ``example``: one as clients see it.
    """

    extensions: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[dict[str, Any]] = {}


@dataclass(frozen=True)
class Operation:
    """One line of a view's ``operations``, which has the action as its key.

    ``codes``: result codes beside Success, apart by spaces; InvalidInput goes without saying.
    ``path``, ``query``, ``body``: what is read; ids in the path go without saying.
    ``example``: of the body.
    The answer is the envelope, with the fields of ``adds`` where all went well; or what ``answer``
    says, a list of one class being a JSON array of it; or text of the type ``media``.
    ``extension``: the reference has no such operation. ``repeatable``: it knows the repeats of a
    request by their ``Idempotency-Key``.
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
