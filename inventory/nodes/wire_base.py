"""Base types of the storage-node API, and the owner of an object."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from provisioner.common.limits import (
    MOST_BYTES_OF_NODE,
    MOST_BYTES_OF_SSD,
    MOST_GENERATION,
    MOST_PER_SECOND,
)

Bytes = Annotated[int, Field(ge=0, lt=2**63)]
Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._:-]+$")]
BytesOfSsd = Annotated[int, Field(ge=0, le=MOST_BYTES_OF_SSD)]
BytesOfNode = Annotated[int, Field(ge=0, le=MOST_BYTES_OF_NODE)]
PerSecond = Annotated[int, Field(ge=0, le=MOST_PER_SECOND)]
Generation = Annotated[int, Field(ge=1, lt=2**63)]
NewestGeneration = Annotated[int, Field(ge=0, le=MOST_GENERATION)]
"""No write to a node had a greater generation, as far as the node remembers."""
Nqn = Annotated[str, Field(min_length=1, max_length=223)]


class Wire(BaseModel):
    """Base of all wire types: camelCase outside, immutable inside, unknown fields ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, serialize_by_alias=True, frozen=True
    )


class PoolIdentity(Wire):
    """A pool. Its uuid identifies it. The name is for people."""

    uuid: Identifier
    name: str = Field(default="", max_length=64)

    def __str__(self) -> str:
        return f"{self.name or 'pool'} ({self.uuid})"


class Owner(Wire):
    """The owner of a volume or snapshot: the volume ``volume`` of a tenant in a pool.

    From ``alias`` and ``more``, the provisioner can recreate lost database rows. The provisioner
    limits the size of ``more``. ``complete``: all data is there; False while a copy or a host still
    writes it.
    """

    pool: Identifier
    tenant: str = Field(max_length=255)
    volume: Identifier
    alias: str = Field(default="", max_length=255)
    complete: bool = True
    more: dict[str, Any] = Field(default_factory=dict)

    def is_same(self, other: "Owner") -> bool:
        """Whether pool, tenant and volume are the same. The other fields may differ."""
        return self._who == other._who

    @property
    def _who(self) -> tuple[str, str, str]:
        return (self.pool, self.tenant, self.volume)

    def __str__(self) -> str:
        return f"volume {self.volume} of tenant {self.tenant!r} in pool {self.pool}"
