"""Types of settings, with their rules."""

import base64
import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import NoDecode


def _keys(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(key.get_secret_value()) < 32 for key in value):
        raise ValueError("each key must have at least 32 characters")
    return value


def _key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < 32:
        raise ValueError("must have at least 32 characters")
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        ipaddress.ip_network(network)
    return value


def _public_key(value: str) -> str:
    if value and len(base64.b64decode(value, validate=True)) != 32:
        raise ValueError("must be the base64 of 32 bytes")
    return value


Seconds = Annotated[int, Field(ge=1, le=86_400)]
Csv = Annotated[tuple[str, ...], NoDecode]
Key = Annotated[SecretStr, AfterValidator(_key)]
Keys = Annotated[tuple[SecretStr, ...], NoDecode, AfterValidator(_keys)]
Networks = Annotated[tuple[str, ...], NoDecode, AfterValidator(_networks)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
