"""Pages by limit and offset, or by limit and marker. The order is always by ascending key."""

from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import QuerySet

from provisioner.common.parsing import INT64_MAX, Identifier, Input, Whole

R = TypeVar("R", bound=QuerySet[Any, Any])


class PageInput(Input):
    limit = Whole(required=False, min_value=1)
    offset = Whole(required=False)
    marker = Identifier(required=False)


@dataclass(frozen=True)
class Page:
    """Part of a list. No ``limit``: all rows. ``marker``: only rows with a greater key; the cost
    does not depend on how far they are. It may be an argument of a compiled statement.
    """

    limit: int | None = None
    offset: int = 0
    marker: Any = None

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Page":
        return cls(fields.get("limit"), fields.get("offset", 0), fields.get("marker"))

    def cut(self, rows: R, key: str) -> R:
        rows = rows.order_by(key)
        if self.marker is not None:
            rows = rows.filter(**{f"{key}__gt": self.marker})
            return rows if self.limit is None else rows[: self.limit]
        end = None if self.limit is None else min(self.offset + self.limit, INT64_MAX)
        return rows[self.offset : end]
