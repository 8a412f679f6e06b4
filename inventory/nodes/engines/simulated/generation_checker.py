"""Finds callers that break the rules for generations."""

from collections import OrderedDict

from inventory.nodes.agent.fences import Name
from inventory.nodes.agent.membership import refuse_other_owner
from inventory.nodes.errors import NodeRefused
from inventory.nodes.layout import refuse_difference
from inventory.nodes.wire import NamespaceSpec, SnapshotSpec, SyncSpec, VolumeSpec

REMEMBERED = 100_000

Spec = VolumeSpec | SnapshotSpec | NamespaceSpec | SyncSpec


class GenerationChecker:
    """``violations``: each write that repeats a name and generation with different content.

    Within one generation, a volume may become larger and get another QoS, a copy may have other
    portals, a namespace other controllers, and the details of an owner may change. A delayed repeat
    of a write with a smaller size is no violation. Nothing else may differ.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._seen: OrderedDict[tuple[Name, int], Spec] = OrderedDict()

    def __call__(self, name: Name, spec: Spec) -> None:
        key = (name, spec.generation)
        seen = self._seen.setdefault(key, spec)
        if seen != spec:
            self._compare(name, seen, spec)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def reset(self) -> None:
        """Forget all writes and violations."""
        self.violations.clear()
        self._seen.clear()

    def _compare(self, name: Name, seen: Spec, spec: Spec) -> None:
        if isinstance(seen, VolumeSpec) and isinstance(spec, VolumeSpec):
            if _is_expansion(name, seen, spec):
                self._seen[name, spec.generation] = spec
                return
            if _is_expansion(name, spec, seen):
                return
        if not _is_change_of_details(seen, spec):
            self.violations.append(f"{name}: {seen!r} and {spec!r}")


def _is_expansion(name: Name, old: VolumeSpec, new: VolumeSpec) -> bool:
    try:
        refuse_difference(name.uuid, old, new)
        refuse_other_owner(name.uuid, old, new)
    except NodeRefused:
        return False
    return True


def _is_change_of_details(old: Spec, new: Spec) -> bool:
    if isinstance(old, SnapshotSpec) and isinstance(new, SnapshotSpec):
        return _differ_in_details(old, new)
    if isinstance(old, NamespaceSpec) and isinstance(new, NamespaceSpec):
        return old.numbered(None) == new.numbered(None)
    return isinstance(old, SyncSpec) and isinstance(new, SyncSpec) and old.is_same(new)


def _differ_in_details(old: SnapshotSpec, new: SnapshotSpec) -> bool:
    same_owner = not (old.owner and new.owner) or old.owner.is_same(new.owner)
    return same_owner and old == new.model_copy(update={"owner": old.owner})
