"""Rules for the layout of volumes and snapshots, and for changes of a layout."""

from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import (
    Piece,
    ProvisioningType,
    RefusalCode,
    SnapshotSpec,
    Source,
    SourceKind,
    VolumeSpec,
)

BLOCK_SIZES = (512, 4096)
MAX_CAPACITY = 2**63 - 1


def check_layout(spec: VolumeSpec) -> None:
    """Check the rules of :class:`VolumeSpec`.

    :raises NodeRefused: INVALID: a rule is broken.
    """
    if spec.block_size not in BLOCK_SIZES:
        raise _invalid(f"block size {spec.block_size} must be one of {BLOCK_SIZES}")
    ssds = [piece.ssd_id for piece in spec.pieces]
    if len(set(ssds)) < len(ssds):
        raise _invalid(f"an SSD is listed twice in {', '.join(ssds)}")
    if spec.capacity > MAX_CAPACITY:
        raise _invalid(f"capacity {spec.capacity} is more than {MAX_CAPACITY}")
    if spec.source is not None and spec.provisioning_type is not ProvisioningType.THIN:
        raise _invalid(
            f"{spec.provisioning_type}, but created from {spec.source.uuid}: must be THIN"
        )
    for piece in spec.pieces:
        _check_piece(piece, spec)


def _check_piece(piece: Piece, spec: VolumeSpec) -> None:
    what = f"sub-volume on {piece.ssd_id}: "
    if piece.capacity == 0 or piece.capacity % spec.block_size:
        raise _invalid(
            f"{what}{piece.capacity} bytes must be a multiple of the block size {spec.block_size}"
        )
    if spec.provisioning_type is ProvisioningType.THICK and piece.allocated < piece.capacity:
        raise _invalid(f"{what}THICK, but {piece.allocated} of {piece.capacity} bytes allocated")
    if spec.provisioning_type is ProvisioningType.THIN and piece.allocated > piece.capacity:
        raise _invalid(f"{what}THIN, but {piece.allocated} allocated for {piece.capacity} bytes")


def refuse_difference(uuid: str, old: VolumeSpec, new: VolumeSpec) -> None:
    """Check that ``new`` equals ``old`` or is larger.

    :raises NodeRefused: CONFLICT
    """
    _refuse_unless(
        old.source == new.source,
        f"volume {uuid} was created from {_source_text(old)}, not {_source_text(new)}",
    )
    _refuse_unless(
        old.capacity == new.capacity or not _is_read_only(old),
        f"volume {uuid} is a read-only snapshot volume of {old.capacity} bytes"
        f" and cannot have {new.capacity}",
    )
    _refuse_unless(
        old.provisioning_type == new.provisioning_type and old.block_size == new.block_size,
        f"volume {uuid} is {old.provisioning_type} with blocks of {old.block_size}, not "
        f"{new.provisioning_type} with blocks of {new.block_size}",
    )
    _refuse_unless(
        len(old.pieces) <= len(new.pieces),
        f"volume {uuid} has {len(old.pieces)} sub-volumes and cannot have {len(new.pieces)}",
    )
    for was, asked in zip(old.pieces, new.pieces, strict=False):
        _refuse_unless(
            was.ssd_id == asked.ssd_id,
            f"volume {uuid} has a sub-volume on {was.ssd_id}, not on {asked.ssd_id}",
        )
        _refuse_unless(
            was.capacity <= asked.capacity and was.allocated <= asked.allocated,
            f"volume {uuid} has {was.capacity} bytes ({was.allocated} allocated) on {was.ssd_id}"
            f" and cannot shrink to {asked.capacity} ({asked.allocated} allocated)",
        )


def refuse_shifted(uuid: str, made: tuple[Piece, ...], asked: tuple[Piece, ...]) -> None:
    """Check that no existing piece becomes larger if another piece follows it. The content of the
    following piece would move.

    :raises NodeRefused: CONFLICT
    """
    for was, now in zip(made[:-1], asked, strict=False):
        _refuse_unless(
            was.capacity == now.capacity,
            f"volume {uuid}: its sub-volume on {was.ssd_id} has {was.capacity} bytes and cannot "
            f"have {now.capacity}, because other sub-volumes follow it",
        )


def refuse_other_layout(
    source: Source, pieces: tuple[Piece, ...], block_size: int, spec: VolumeSpec
) -> None:
    """Check that a volume with ``spec`` can be created from a source with these ``pieces`` and this
    ``block_size``.

    :raises NodeRefused: CONFLICT
    """
    is_clone = not source.kind.is_snapshot_volume
    _refuse_unless(
        spec.block_size == block_size,
        f"{source.uuid} has blocks of {block_size}, not {spec.block_size}",
    )
    _refuse_unless(
        [p.ssd_id for p in spec.pieces[: len(pieces)]] == [p.ssd_id for p in pieces]
        and (is_clone or len(spec.pieces) == len(pieces)),
        f"{source.uuid} is on {_ssds(pieces)}, not on {_ssds(spec.pieces)}",
    )
    for piece, asked in zip(pieces, spec.pieces, strict=False):
        _refuse_unless(
            asked.capacity == piece.capacity or (is_clone and asked.capacity > piece.capacity),
            f"{source.uuid} has {piece.capacity} bytes on {piece.ssd_id}, not {asked.capacity}",
        )


def refuse_other_snapshot_layout(volume: VolumeSpec, spec: SnapshotSpec) -> None:
    """Check that ``spec`` can be a snapshot of ``volume``.

    :raises NodeRefused: CONFLICT
    """
    sizes = [(p.ssd_id, p.capacity) for p in volume.pieces]
    asked = [(p.ssd_id, p.capacity) for p in spec.pieces]
    _refuse_unless(sizes == asked, f"volume {spec.volume_uuid} is {sizes}, not {asked}")
    _refuse_unless(
        not _is_read_only(volume), f"volume {spec.volume_uuid} is a read-only snapshot volume"
    )


def _is_read_only(spec: VolumeSpec) -> bool:
    source = spec.source
    return source is not None and source.kind is SourceKind.READ_ONLY_SNAPSHOT_VOLUME


def _source_text(spec: VolumeSpec) -> str:
    source = spec.source
    return f"{source.uuid} ({source.kind}, {source.generation})" if source else "nothing"


def _ssds(pieces: tuple[Piece, ...]) -> str:
    return ", ".join(piece.ssd_id for piece in pieces)


def _refuse_unless(fine: bool, message: str) -> None:
    if not fine:
        raise NodeRefused(RefusalCode.CONFLICT, message)


def _invalid(message: str) -> NodeRefused:
    return NodeRefused(RefusalCode.INVALID, message)
