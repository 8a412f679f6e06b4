"""Ids that are unique within the target of a host. This target has the same NQN on all nodes."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LAST_CONTROLLER_ID = 65_519  # NVMe reserves those above
MAX_NAMESPACES = 1024  # of a target; also the highest namespace id


class ControllerIds(BaseModel):
    """The range of NVMe controller ids that a node uses, both ends included."""

    model_config = ConfigDict(frozen=True)

    first: int = Field(ge=1, le=LAST_CONTROLLER_ID)
    last: int = Field(ge=1, le=LAST_CONTROLLER_ID)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first = {self.first} is greater than last = {self.last}")
        return self

    def overlaps(self, other: "ControllerIds") -> bool:
        """Whether the ranges share an id."""
        return self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


ANY_CONTROLLERS = ControllerIds(first=1, last=LAST_CONTROLLER_ID)
