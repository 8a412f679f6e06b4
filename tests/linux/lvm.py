"""The commands of LVM, with the answers of Debian's lvm2 2.03.16."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from inventory.nodes.engines.linux.names import mapped_name
from tests.linux.drives import EXTENT, Drive, Group, ThinPool, ThinVolume
from tests.linux.mapper import FakeMapper, Mapped, Target

ACTIVATE_SECONDS = 0.06
"""What the activation of a volume took on an emulated machine."""
FLAG, YES_OR_NO, ANY = "flag", "y|n", ".+"
REPORT = {"--reportformat": "json", "--units": "b", "--nosuffix": FLAG, "--options": ANY}
OPTIONS = {
    "vgs": REPORT,
    "lvs": REPORT,
    "vgcreate": {"--yes": FLAG, "--setautoactivation": YES_OR_NO, "--metadatasize": ANY},
    "vgchange": {"--activate": YES_OR_NO, "--ignoreactivationskip": FLAG},
    "lvcreate": {
        "--yes": FLAG,
        "--snapshot": FLAG,
        "--activate": YES_OR_NO,
        "--zero": YES_OR_NO,
        "--wipesignatures": YES_OR_NO,
        "--setactivationskip": YES_OR_NO,
        "--errorwhenfull": YES_OR_NO,
        "--poolmetadataspare": YES_OR_NO,
        "--discards": "passdown|nopassdown|ignore",
        "--type": "thin|thin-pool",
        "--name": ANY,
        "--thinpool": ANY,
        "--extents": ANY,
        "--virtualsize": ANY,
        "--poolmetadatasize": ANY,
        "--chunksize": ANY,
    },
    "lvchange": {"--errorwhenfull": YES_OR_NO},
    "lvextend": {"--size": ANY},
    "lvremove": {"--yes": FLAG},
}
"""The options of each command that the fake knows, with a pattern for their values."""


class Refused(Exception):
    """A command failed: exit status and what it wrote to stderr."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class FakeLvm:
    """A simulated LVM. Each command sees only the drives that its filter allows. ``appeared`` is
    called with the device of each volume that is activated.
    """

    def __init__(
        self, drives: list[Drive], mapper: FakeMapper, appeared: Callable[[Mapped], None]
    ) -> None:
        self._drives = drives
        self._mapper = mapper
        self._appeared = appeared

    def run(self, verb: str, *words: str, seconds: float) -> str:
        """:raises Refused: the command failed. :raises TimeoutError: it needs more time."""
        self._seconds = seconds
        options, arguments = _parsed(verb, words)
        found = self._visible(options["--config"])
        for drive in found:
            if drive.hangs:
                raise TimeoutError
        handler: Any = getattr(self, f"_{verb}")
        return str(handler(options, arguments, found) or "")

    def activate(self, group: Group, *, ignores_skip: bool = False) -> None:
        """Create the missing devices of the group, except those of volumes that skip it."""
        assert group.pool
        pool = mapped_name(group.name, "pool")
        target = Target("thin-pool", 0, group)
        if not group.volumes:
            self._mapper.make(pool, [target])
        elif f"{pool}-tpool" not in self._mapper.devices:
            self._mapper.devices.pop(pool, None)
            self._mapper.make(f"{pool}-tpool", [target])
            self._mapper.make(pool, [Target("linear", EXTENT, None)])
        data = f"{pool}_tdata"
        self._mapper.make(data, [Target("linear", EXTENT, None)])
        if not self._mapper.devices[data].number:
            [drive] = [one for one in self._drives if one.group is group]
            self._mapper.devices[data].number = drive.number
        for volume in group.volumes.values():
            name = mapped_name(group.name, volume.name)
            skips = volume.skips_activation and not ignores_skip
            if name not in self._mapper.devices and not skips:
                self._mapper.make(name, [Target("thin", volume.size, volume)])
                self._appeared(self._mapper.devices[name])

    def _vgs(self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]) -> str:
        rows = [
            {
                "vg_name": drive.group.name,
                "vg_uuid": drive.group.uuid,
                "vg_extent_size": str(EXTENT),
                "vg_free": str((drive.group.extents - drive.group.used) * EXTENT),
            }
            for drive in found
            if drive.group
        ]
        return _report("vg", rows, options)

    def _lvs(self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]) -> str:
        group = _group(found, arguments[0])
        rows = [
            {"lv_name": one.name, "lv_size": str(one.size), "chunk_size": "0", "lv_when_full": ""}
            for one in group.volumes.values()
        ]
        if pool := group.pool:
            rows.append(
                {
                    "lv_name": "pool",
                    "lv_size": str(pool.total * pool.chunk_size),
                    "chunk_size": str(pool.chunk_size),
                    "lv_when_full": "error" if pool.fails_when_full else "queue",
                }
            )
        return _report("lv", rows, options)

    def _vgcreate(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        name, device = arguments
        if not found:
            raise Refused(5, f"  No device found for {device}.")
        [drive] = found
        if drive.group:
            raise Refused(5, f"  Physical volume '{device}' is already in volume group 'x'")
        drive.make_group(name, _size(options["--metadatasize"]))
        assert drive.group
        drive.group.is_autoactivated = options.get("--setautoactivation") != "n"

    def _vgchange(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        group = _group(found, arguments[0])
        if options["--activate"] == "n":
            self._deactivate(group)
            return
        if group.pool and group.pool.is_broken:
            raise Refused(
                5, f"  Check of pool {group.name}/pool failed (status:1). Manual repair required!"
            )
        names = {mapped_name(group.name, one) for one in group.volumes}
        if len(names - self._mapper.devices.keys()) * ACTIVATE_SECONDS > self._seconds:
            raise TimeoutError
        if group.pool:
            self.activate(group, ignores_skip="--ignoreactivationskip" in options)

    def _lvcreate(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        group = _group(found, arguments[0].partition("/")[0])
        name = options["--name"]
        if name in group.volumes or (name == "pool" and group.pool):
            raise Refused(
                5, f'  Logical Volume "{name}" already exists in volume group "{group.name}"'
            )
        if "--errorwhenfull" in options:
            raise Refused(3, "  Option --errorwhenfull is unsupported with thin pools.")
        if options.get("--type") == "thin-pool":
            self._create_pool(group, options)
        else:
            self._create_thin(group, name, options, arguments[0].partition("/")[2])
        self.activate(group)

    def _create_pool(self, group: Group, options: dict[str, str]) -> None:
        metadata = _size(options["--poolmetadatasize"])
        extents = int(options["--extents"])
        has_spare = options.get("--poolmetadataspare") != "n"
        needed = extents + (1 + has_spare) * -(-metadata // EXTENT)
        if needed > group.extents - group.used:
            raise Refused(5, f'  Volume group "{group.name}" has insufficient free space')
        assert options["--zero"] == "y", "hosts would see old data"
        group.used += needed
        chunk = _size(options["--chunksize"])
        group.pool = ThinPool(chunk, extents * EXTENT // chunk, metadata // 4096)
        group.pool.has_spare, group.pool.discards = has_spare, options.get("--discards", "passdown")

    def _create_thin(self, group: Group, name: str, options: dict[str, str], source: str) -> None:
        if group.pool is None or group.pool.mode == "ro" or group.pool.needs_check:
            raise Refused(5, f"  Cannot create new thin volume, check of {group.name}/pool needed")
        if len(group.pool.data) >= group.pool.total:
            text = f"free space in thin pool {group.name}/pool reached threshold."
            raise Refused(5, f"  Cannot create new thin volume, {text}")
        if len(group.volumes) >= group.most_volumes:
            raise Refused(5, f"  VG {group.name} metadata exceeds maximum metadata size")
        if not source:
            size = -(-_size(options["--virtualsize"]) // EXTENT) * EXTENT
            group.volumes[name] = ThinVolume(name, size, group.pool)
            return
        of = _volume(group, source)
        skips = options.get("--setactivationskip") != "n"
        taken = ThinVolume(name, of.size, group.pool, dict(of.chunks), skips_activation=skips)
        group.volumes[name] = taken

    def _lvchange(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        group = _group(found, arguments[0].partition("/")[0])
        assert group.pool
        assert options["--errorwhenfull"] == "y"
        if group.pool.fails_when_full:
            raise Refused(5, f"  Error when full is already set for {group.name}/pool.")
        group.pool.fails_when_full = True

    def _lvextend(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        vg, _, lv = arguments[0].partition("/")
        group = _group(found, vg)
        volume, size = _volume(group, lv), _size(options["--size"])
        if size == volume.size:
            raise Refused(5, f"  New size ({size // EXTENT} extents) matches existing size")
        if size < volume.size:
            raise Refused(5, "  New size given not larger than existing size")
        volume.size = size
        self._mapper.devices[mapped_name(vg, lv)].targets[0].size = size

    def _lvremove(
        self, options: dict[str, str], arguments: Sequence[str], found: list[Drive]
    ) -> None:
        vg, _, lv = arguments[0].partition("/")
        group = _group(found, vg)
        volume, name = _volume(group, lv), mapped_name(vg, lv)
        if name in self._mapper.devices and self._mapper.is_open(name):
            is_under = not self._mapper.devices[name].openers
            text = "is used by another device" if is_under else "in use"
            raise Refused(5, f"  Logical volume {vg}/{lv} {text}.")
        if "--yes" not in options:
            raise Refused(5, f"  Logical volume {vg}/{lv} not removed.")
        self._mapper.devices.pop(name, None)
        group.remove(volume)

    def _deactivate(self, group: Group) -> None:
        for name in [mapped_name(group.name, one) for one in group.volumes]:
            if self._mapper.is_open(name):
                raise Refused(5, f"  Logical volume {name} in use.")
            self._mapper.devices.pop(name, None)

    def _visible(self, config: str) -> list[Drive]:
        found = re.search(r"a\|\^(.*?)\$\|", config)
        assert found, config
        path = found[1].replace("\\", "")
        return [one for one in self._drives if one.is_there and one.path == path]


def _parsed(verb: str, words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the options and the other arguments.

    :raises Refused: the command does not have such an option, or not with this value.
    """
    known = {"--config": ANY, **OPTIONS[verb]}
    options: dict[str, str] = {}
    arguments = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            arguments.append(word)
            continue
        if word not in known:
            raise Refused(3, f"{verb}: unrecognized option '{word}'")
        options[word] = "" if known[word] == FLAG else next(rest)
        if known[word] != FLAG and not re.fullmatch(known[word], options[word]):
            raise Refused(3, f"  Invalid argument for {word}: {options[word]}")
    return options, arguments


def _report(kind: str, rows: list[dict[str, str]], options: dict[str, str]) -> str:
    asked = options["--options"].split(",")
    assert options["--reportformat"] == "json"
    assert options["--units"] == "b"
    return json.dumps({"report": [{kind: [{one: row[one] for one in asked} for row in rows]}]})


def _group(found: list[Drive], name: str) -> Group:
    for drive in found:
        if drive.group and drive.group.name == name:
            return drive.group
    raise Refused(5, f'  Volume group "{name}" not found\n  Cannot process volume group {name}')


def _volume(group: Group, name: str) -> ThinVolume:
    if name not in group.volumes:
        raise Refused(5, f'  Failed to find logical volume "{group.name}/{name}"')
    return group.volumes[name]


def _size(text: str) -> int:
    assert text.endswith("b"), text
    return int(text[:-1])
