"""The check of drives, with files and with simulated drives that do not zero discarded blocks."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inventory.nodes.engines.spdk.drives import (
    BLOCK,
    MIB,
    SMALLEST_BYTES,
    NotUsable,
    Outcome,
    check_drive,
    choose_extents,
)
from inventory.nodes.engines.spdk.kernel_drive import KernelDrive


class IgnoresDiscards(KernelDrive):
    """A drive that accepts discards and ignores them."""

    def discard(self, offset: int, length: int) -> None:
        pass


class DiscardsWholeUnits(KernelDrive):
    """A drive that discards only complete units of its own size."""

    def discard(self, offset: int, length: int) -> None:
        first = -(-offset // MIB) * MIB
        end = (offset + length) // MIB * MIB
        if end > first:
            super().discard(first, end - first)


class DiscardsNeighbours(KernelDrive):
    """A drive that also discards adjacent blocks."""

    def discard(self, offset: int, length: int) -> None:
        super().discard(offset, length + BLOCK)


class Unable(KernelDrive):
    def discard(self, offset: int, length: int) -> None:
        raise OSError(95, "Operation not supported")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "drive"
    with file.open("wb") as opened:
        opened.truncate(SMALLEST_BYTES)
    return file


def is_clear(drive: KernelDrive) -> bool:
    return all(drive.read(at, MIB) == bytes(MIB) for at in range(0, SMALLEST_BYTES, MIB))


def outcomes(drive: type[KernelDrive], path: Path) -> set[Outcome]:
    with drive.opened(path) as opened:
        return set(check_drive(opened).values())


def test_a_drive_that_zeroes_passes_the_check(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("check_drive", str(path))
    shown = capsys.readouterr().out
    assert "zeroes_on_unmap = true is possible" in shown
    assert "4194304 bytes at" in shown
    with KernelDrive.opened(path) as drive:
        assert is_clear(drive)


def test_drives_that_do_not_zero_fail_the_check(path: Path) -> None:
    assert outcomes(IgnoresDiscards, path) == {Outcome.KEPT}
    assert outcomes(DiscardsWholeUnits, path) == {Outcome.ZEROS, Outcome.KEPT, Outcome.MIXED}
    assert outcomes(DiscardsNeighbours, path) == {Outcome.MIXED}


def test_a_drive_that_cannot_discard_is_left_unchanged(path: Path) -> None:
    with Unable.opened(path) as drive:
        with pytest.raises(NotUsable, match="cannot discard: Operation not supported"):
            check_drive(drive)
        assert is_clear(drive)


@pytest.mark.parametrize(
    "at", [0, SMALLEST_BYTES - BLOCK, choose_extents(SMALLEST_BYTES)[5].offset]
)
def test_a_drive_that_holds_data_is_checked_only_on_request(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"data")
    with pytest.raises(CommandError, match="it contains data at or after byte"):
        call_command("check_drive", str(path))
    with path.open("rb") as file:
        file.seek(at)
        assert file.read(4) == b"data"
    call_command("check_drive", str(path), destroy_data=True)


def test_paths_that_are_no_usable_drive_are_refused(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(BLOCK))
    for path, reason in (
        (small, "it has 4096 bytes"),
        (tmp_path, "directory"),
        (tmp_path / "none", "No such file"),
        (Path("/dev/null"), "neither a block device nor a file"),
    ):
        with pytest.raises(CommandError, match=reason):
            call_command("check_drive", str(path))


@pytest.mark.parametrize("size", [SMALLEST_BYTES, SMALLEST_BYTES + 512, 7 * 2**40 + 12_345 * BLOCK])
def test_extents_are_separate_and_inside_the_drive(size: int) -> None:
    extents = sorted(choose_extents(size), key=lambda one: one.offset)
    ends = [0, *(one.offset + one.length + BLOCK for one in extents)]
    begins = [*(one.offset - BLOCK for one in extents), size]
    assert all(begin >= end for begin, end in zip(begins, ends, strict=True))
    assert all(one.offset % BLOCK == one.length % BLOCK == 0 for one in extents)
    assert {one.offset % (4 * MIB) for one in extents} == {0, BLOCK}
