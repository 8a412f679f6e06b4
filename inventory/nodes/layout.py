"""What a volume's layout must be, and how it may change."""

from inventory.nodes.errors import NodeRefused
from inventory.nodes.wire import Piece, ProvisioningType, RefusalCode, VolumeSpec

BLOCK_SIZES = (512, 4096)
MAX_CAPACITY = 2**63 - 1


def check_layout(spec: VolumeSpec) -> None:
    """:raises NodeRefused: INVALID; a rule of :class:`VolumeSpec` is broken."""
    if spec.block_size not in BLOCK_SIZES:
        raise _invalid(f"block size {spec.block_size} is none of {BLOCK_SIZES}")
    ssds = [piece.ssd_id for piece in spec.pieces]
    if len(set(ssds)) < len(ssds):
        raise _invalid(f"an SSD is named twice in {', '.join(ssds)}")
    if spec.capacity > MAX_CAPACITY:
        raise _invalid(f"capacity {spec.capacity} is more than {MAX_CAPACITY}")
    for piece in spec.pieces:
        _check_piece(piece, spec)


def _check_piece(piece: Piece, spec: VolumeSpec) -> None:
    what = f"piece on {piece.ssd_id}: "
    if piece.capacity == 0 or piece.capacity % spec.block_size:
        raise _invalid(f"{what}{piece.capacity} bytes are not blocks of {spec.block_size}")
    if spec.provisioning_type is ProvisioningType.THICK and piece.allocated < piece.capacity:
        raise _invalid(f"{what}THICK, but {piece.allocated} of {piece.capacity} bytes allocated")
    if spec.provisioning_type is ProvisioningType.THIN and piece.allocated > piece.capacity:
        raise _invalid(f"{what}THIN, but {piece.allocated} allocated for {piece.capacity} bytes")


def refuse_difference(uuid: str, old: VolumeSpec, new: VolumeSpec) -> None:
    """:raises NodeRefused: CONFLICT, unless ``new`` is ``old`` or larger."""
    _refuse_unless(
        old.provisioning_type == new.provisioning_type and old.block_size == new.block_size,
        f"volume {uuid} is {old.provisioning_type} in blocks of {old.block_size},"
        f" not {new.provisioning_type} in blocks of {new.block_size}",
    )
    _refuse_unless(
        len(old.pieces) <= len(new.pieces),
        f"volume {uuid} has {len(old.pieces)} pieces and cannot have {len(new.pieces)}",
    )
    for was, asked in zip(old.pieces, new.pieces, strict=False):
        _refuse_unless(
            was.ssd_id == asked.ssd_id,
            f"volume {uuid} has a piece on {was.ssd_id}, not on {asked.ssd_id}",
        )
        _refuse_unless(
            was.capacity <= asked.capacity and was.allocated <= asked.allocated,
            f"volume {uuid} has {was.capacity} bytes ({was.allocated} allocated) on {was.ssd_id}"
            f" and cannot shrink to {asked.capacity} ({asked.allocated} allocated)",
        )


def _refuse_unless(fine: bool, message: str) -> None:
    if not fine:
        raise NodeRefused(RefusalCode.CONFLICT, message)


def _invalid(message: str) -> NodeRefused:
    return NodeRefused(RefusalCode.INVALID, message)
