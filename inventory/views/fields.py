"""Input fields of the pool's requests."""

import ipaddress
import re
from typing import Any

from rest_framework import serializers

from provisioner.common.parsing import Identifier, Input, Whole

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
DNS_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")
DNS_NAME_LENGTH = 253
NQN = re.compile(r"nqn\.\d{4}-(0[1-9]|1[0-2])\.[A-Za-z0-9][A-Za-z0-9.-]*:[!-~]+")
NQN_LENGTH = 223


LONGEST_LOCATION = 4096
"""A longer text is malformed. The service checks the allowed length."""


class ManagementAddress(serializers.CharField):
    """An IP address or a DNS name. It is normalised so that equal addresses compare as equal."""

    default_error_messages = {"address": "must be an IP address or a DNS name"}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        rule = self.default_error_messages["address"]
        length = DNS_NAME_LENGTH + len("[].")
        super().__init__(max_length=length, error_messages={"max_length": rule}, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data).removeprefix("[").removesuffix("]")
        try:
            return ipaddress.ip_address(text).compressed
        except ValueError:
            name = text.removesuffix(".").lower()
        if len(name) > DNS_NAME_LENGTH or not DNS_NAME.fullmatch(name):
            self.fail("address")
        return name


class ManagementAddresses(serializers.ListField):
    """A list of addresses, or one address as a string (the reference prints both)."""

    child = ManagementAddress()
    default_error_messages = {"twice": "contains an address twice"}  # noqa: RUF012

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_length=1, max_length=16, **kwargs)

    def to_internal_value(self, data: Any) -> list[str]:
        addresses: list[str] = super().to_internal_value([data] if isinstance(data, str) else data)
        if len(set(addresses)) < len(addresses):
            self.fail("twice")
        return addresses


class HostNqn(serializers.RegexField):
    """``nqn.yyyy-mm.reversed.domain:name`` of printable ASCII, at most 223 bytes (NVMe base)."""

    def __init__(self, **kwargs: Any) -> None:
        rule = f"must be an NQN, nqn.yyyy-mm.reversed.domain:name, of at most {NQN_LENGTH} bytes"
        super().__init__(
            re.compile(rf"^(?:{NQN.pattern})\Z"),
            max_length=NQN_LENGTH,
            error_messages={"invalid": rule, "max_length": rule},
            **kwargs,
        )


class Port(Whole):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(min_value=1, max_value=65535, **kwargs)


def _location() -> serializers.CharField:
    return serializers.CharField(
        required=False, allow_null=True, allow_blank=True, max_length=LONGEST_LOCATION
    )


class LocationInput(Input):
    """The location of a node. null or an empty string means "not set". The service checks the
    lengths.
    """

    rack = _location()
    zone = _location()
    region = _location()
    hostId = Identifier(required=False, allow_null=True, allow_blank=True, source="host_id")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {name: None if value == "" else value for name, value in attrs.items()}
