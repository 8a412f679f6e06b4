"""The count of space is never too low, and it is exact while one family shares chunks."""

from hypothesis import given
from hypothesis import strategies as st

from inventory.nodes.engines.linux.reservations import Use, count_space

CHUNK = 64


def use(mapped: dict[str, int], used: int, family: dict[str, str] | None = None) -> Use:
    return Use(1000 * CHUNK, CHUNK, used * CHUNK, _bytes(mapped), family or {})


def _bytes(chunks: dict[str, int]) -> dict[str, int]:
    return {name: count * CHUNK for name, count in chunks.items()}


def test_volumes_alone_are_counted_exactly() -> None:
    space = count_space(use({"thick": 5, "thin": 7}, 12), _bytes({"thick": 100, "thin": 2}))
    assert (space.allocated, space.outgrown) == (102 * CHUNK, 5 * CHUNK)
    assert space.free == (1000 - 107) * CHUNK


def test_allocations_are_counted_to_the_byte_but_committed_in_chunks() -> None:
    space = count_space(use({}, 0), {"v": 1, "w": CHUNK + 1})
    assert (space.allocated, space.committed) == (CHUNK + 2, 3 * CHUNK)


def test_one_family_is_counted_exactly() -> None:
    """A thick volume of 100 chunks and its snapshot share 40 chunks. The volume has written 10
    since then.
    """
    family = {"v": "f", "s": "f"}
    space = count_space(use({"v": 50, "s": 40}, 50, family), _bytes({"v": 100, "s": 0}))
    assert space.outgrown == 0
    space = count_space(use({"v": 100, "s": 40}, 130, family), _bytes({"v": 100, "s": 0}))
    assert space.outgrown == 30 * CHUNK


def test_chunks_that_nobody_maps_are_not_free() -> None:
    """They belong to a volume that is being removed."""
    assert count_space(use({}, 9), {}).outgrown == 9 * CHUNK


families = st.lists(
    st.tuples(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=3), st.integers(0, 40)),
    max_size=4,
)


@given(families)
def test_the_count_is_never_too_low(drawn: list[tuple[list[set[int]], int]]) -> None:
    """``drawn``: for each family the chunks of its members, and its allocation."""
    mapped: dict[str, int] = {}
    family: dict[str, str] = {}
    promises: dict[str, int] = {}
    owned = []
    for number, (members, allocated) in enumerate(drawn):
        for place, chunks in enumerate(members):
            mapped[f"{number}-{place}"] = len(chunks)
            family[f"{number}-{place}"] = str(number)
        promises[f"{number}-0"] = allocated
        owned.append(len(set().union(*members)))
    space = count_space(use(mapped, sum(owned), family), _bytes(promises))
    true = sum(max(0, own - allocated) for own, (_, allocated) in zip(owned, drawn, strict=True))
    assert space.outgrown >= true * CHUNK
    if sum(len(members) > 1 for members, _ in drawn) <= 1:
        assert space.outgrown == true * CHUNK
