"""When work that failed is tried again."""

import time
from collections.abc import Collection


class Retries:
    """The keys whose work failed, each with the time when it is tried again. The pause is
    ``shortest`` seconds at first, and doubles after each further failure, up to ``longest``.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._pauses: dict[str, float] = {}
        self._planned: dict[str, float] = {}

    def fail(self, key: str) -> None:
        """Plan the next attempt, unless one is planned already."""
        if key not in self._planned:
            pause = min(2 * self._pauses.get(key, self._shortest / 2), self._longest)
            self._pauses[key] = pause
            self._planned[key] = time.monotonic() + pause

    def take(self) -> list[str]:
        """Return the keys that are due. Call ``fail`` or ``succeed`` for each of them."""
        now = time.monotonic()
        due = sorted(key for key, at in self._planned.items() if at <= now)
        for key in due:
            del self._planned[key]
        return due

    def succeed(self, key: str) -> None:
        """Forget the pause. An attempt that was planned meanwhile stays planned."""
        self._pauses.pop(key, None)

    def begin(self, failed: Collection[str] = ()) -> None:
        """Everything is tried now. Only those that ``failed`` last time keep their pause."""
        self._planned.clear()
        self._pauses = {key: one for key, one in self._pauses.items() if key in failed}

    @property
    def is_due(self) -> bool:
        return self.seconds == 0

    @property
    def seconds(self) -> float | None:
        """Seconds until the next attempt. None: none is planned."""
        now = time.monotonic()
        return max(0.0, min(self._planned.values()) - now) if self._planned else None
