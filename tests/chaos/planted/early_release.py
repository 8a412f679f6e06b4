"""The bug: capacity is released before the node has confirmed the removal. The node is called a
little later.
"""

import threading
import time
from types import ModuleType
from typing import Any

from tests.chaos.planted.plant import after_import

LATER_SECONDS = 2.0


def _early(module: ModuleType) -> None:
    really = module.replicas_remove

    def replicas_remove(replicas: Any, *, until: float) -> dict[int, bool]:
        rows = list(replicas)

        def later() -> None:
            time.sleep(LATER_SECONDS)
            really(rows, until=until + LATER_SECONDS)

        threading.Thread(target=later).start()
        return {row.pk: True for row in rows}

    module.replicas_remove = replicas_remove  # type: ignore[attr-defined]


after_import("volumes.services.volume.delete", _early)
