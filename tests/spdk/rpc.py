"""The parameters and errors of the fake target's methods, as strict as in SPDK 26.05."""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any

Handler = Callable[..., Awaitable[Any]]

INVALID_PARAMS = -32602
INTERNAL = -32603
PARSE = -32700
EPERM, ENOENT, EAGAIN, EEXIST, ENODEV, EINVAL = -1, -2, -11, -17, -19, -22


class Refused(Exception):
    """An error reply."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message


def no_device() -> Refused:
    return Refused(ENODEV, "No such device")


def file_exists() -> Refused:
    return Refused(EEXIST, "File exists")


def not_permitted(code: int = EPERM) -> Refused:
    return Refused(code, "Operation not permitted")


def invalid_parameters() -> Refused:
    return Refused(INVALID_PARAMS, "Invalid parameters")


def no_space() -> Refused:
    return Refused(INVALID_PARAMS, "No space left on device")


class Object(dict[str, Any]):
    """A JSON object that knows whether a key was given twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.has_duplicates = len(self) < len(pairs)


class Undecodable(Exception):
    """A parameter is unknown, missing, null, given twice or of another type."""


class Module:
    """Methods whose names start with a prefix of ``METHODS``. Their signatures define the
    parameters.
    """

    METHODS: tuple[str, ...] = ()
    UNDECODABLE = (INTERNAL, "spdk_json_decode_object failed")

    def methods(self) -> dict[str, "Method"]:
        names = [name for name in dir(self) if name.startswith(self.METHODS)]
        return {name: Method(getattr(self, name), self.UNDECODABLE) for name in names}


@dataclass(frozen=True)
class Method:
    handler: Handler
    undecodable: tuple[int, str]

    async def call(self, params: Any) -> Any:
        """Check the parameters and call the method.

        :raises Refused: the parameters are wrong, or the method refuses.
        """
        wanted = _parameters(self.handler.__func__)  # type: ignore[attr-defined]
        if not wanted and params is not None:
            raise invalid_parameters()
        try:
            decoded = _object(Object([]) if params is None else params, wanted)
        except Undecodable:
            raise Refused(*self.undecodable) from None
        if "params_given" in wanted:
            decoded["params_given"] = params is not None
        return await self.handler(**decoded)


@cache
def _parameters(method: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    """The types of the parameters by name, and whether they are required."""
    _, *parameters = inspect.signature(method).parameters.values()  # without ``self``
    return {
        one.name: (one.annotation, one.default is inspect.Parameter.empty) for one in parameters
    }


def _object(value: Any, wanted: dict[str, tuple[Any, bool]]) -> dict[str, Any]:
    wanted = {name: one for name, one in wanted.items() if name != "params_given"}
    if not isinstance(value, Object) or value.has_duplicates or set(value) - set(wanted):
        raise Undecodable
    if any(is_required and name not in value for name, (_, is_required) in wanted.items()):
        raise Undecodable
    return {name: _decode(given, wanted[name][0]) for name, given in value.items()}


def _decode(value: Any, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    if typing.get_origin(kind) is list:
        return [_decode(one, typing.get_args(kind)[0]) for one in _typed(value, list)]
    if is_dataclass(kind):
        wanted = {one.name: (one.type, one.default is MISSING) for one in fields(kind)}
        return kind(**_object(value, wanted))  # type: ignore[operator]
    if kind is int:
        return _unsigned(value)
    return _typed(value, kind)


def _typed(value: Any, kind: Any) -> Any:
    if type(value) is not kind:
        raise Undecodable
    return value


def _unsigned(value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value < 0 or value != int(value):
        raise Undecodable
    return int(value)
