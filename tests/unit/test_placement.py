"""Placement: each filter by name, the layout on SSDs, and properties of any pool."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from volumes.placement.explanation import EXCLUDED, REQUESTED
from volumes.placement.filters import FILTERS
from volumes.placement.layout import PIECE_BYTES, lay_out
from volumes.placement.request import Candidate, Drive, PlacementRequest
from volumes.placement.scheduler import FILTER_NAMES, plan

GIB = 2**30


def node(name: str, *, free: tuple[int, ...] = (100, 100), **changes: object) -> Candidate:
    """Return a node that passes every filter. The arguments are the free GiB of its SSDs of 100 GiB
    each.
    """
    drives = tuple(Drive(n, f"ssd-{n}", gib * GIB) for n, gib in enumerate(free))
    base = Candidate(
        persistent_id=name,
        name=name,
        in_use=True,
        available=True,
        host_id=None,
        region=None,
        zone=None,
        rack=None,
        total_bytes=100 * GIB * len(free),
        total_iops=1000,
        used_iops=0,
        total_bw=1000,
        used_bw=0,
        drives=drives,
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def a_request(**changes: object) -> PlacementRequest:
    base = PlacementRequest(seed="v", replicas=1, capacity_bytes=10 * GIB, claimed_bytes=10 * GIB)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


REFUSALS = {
    "in use": (node("n", in_use=False), a_request()),
    "Available": (node("n", available=False), a_request()),
    "answering": (node("n"), a_request(avoid=frozenset({"n"}))),
    "former volume removed": (node("n"), a_request(removing=frozenset({"n"}))),
    "hostId": (node("n", host_id="other"), a_request(host_id="h")),
    "destinationBackendId": (node("n"), a_request(destination="m")),
    "region": (node("n", region="r1"), a_request(regions=("r2",))),
    "zone": (node("n"), a_request(zones=("z",))),
    "rack": (node("n", rack="a"), a_request(racks=("b", "c"))),
    "protocol": (node("n"), a_request(local=True)),
    "limits": (node("n", enforces_limits=False), a_request(is_limited=True)),
    "block size": (node("n", drives=(Drive(0, "a", 50 * GIB, block_size=512),)), a_request()),
    "space": (
        node("n", drives=(Drive(0, "a", 50 * GIB, block_size=512), Drive(1, "b", 9 * GIB))),
        a_request(),
    ),
    "shareSSDBetweenVolumes": (
        node("n", drives=(Drive(0, "a", 50 * GIB, holds_class=True), Drive(1, "b", GIB))),
        a_request(share_ssd=False),
    ),
    "desired IOPS": (node("n", used_iops=999), a_request(desired_iops=2)),
    "desired bandwidth": (node("n", used_bw=999), a_request(desired_bw=2)),
}

WHY = {
    "in use": "the node is cordoned: inUse is false",
    "Available": "the node is Unavailable",
    "answering": "the node just failed to create the volume",
    "former volume removed": ("the node still holds a deleted volume of this uuid"),
    "hostId": "the node's hostId is other, not h",
    "destinationBackendId": "the node is not m",
    "region": "the node's region is r1, not r2",
    "zone": "the node has no zone, not z",
    "rack": "the node's rack is a, not b or c",
    "protocol": "the node does not run inside a host, which a Local volume needs",
    "limits": "the node cannot limit a volume's IOPS or bandwidth",
    "block size": "no SSD of the node can hold volumes with blocks of 4096 bytes",
    "space": "9 GiB are free, 10 GiB are required",
    "shareSSDBetweenVolumes": "each SSD with room has a volume of the storage class",
    "desired IOPS": "1 IOPS are unreserved, 2 IOPS are requested",
    "desired bandwidth": "1 B/s are unreserved, 2 B/s are requested",
}

TEXTS = {
    "in use": "1 node cordoned",
    "Available": "1 node unavailable",
    "answering": "1 node that just failed to create the volume",
    "former volume removed": "1 node that still hold a deleted volume of this uuid",
    "hostId": "hostId h: 0 of 1 node",
    "destinationBackendId": "destinationBackendId m: 0 of 1 node",
    "region": "region r2: 0 of 1 node",
    "zone": "zone z: 0 of 1 node",
    "rack": "rack b or c: 0 of 1 node",
    "protocol": "1 node without a hostId, which a Local volume needs",
    "limits": "1 node that cannot limit a volume's IOPS or bandwidth",
    "block size": "1 node with no SSD for blocks of 4096 bytes",
    "space": "1 node with less than 10 GiB free on one SSD",
    "shareSSDBetweenVolumes": "1 node where every SSD with room has a volume of the storage class",
    "desired IOPS": "1 node with less than 2 unreserved IOPS",
    "desired bandwidth": "1 node with less than 2 B/s unreserved",
}


def test_every_filter_is_tested_here_and_has_a_text() -> None:
    assert list(REFUSALS) == [one.name for one in FILTERS]
    assert {*REQUESTED, *EXCLUDED} == {*FILTER_NAMES}


@pytest.mark.parametrize("name", REFUSALS)
def test_each_filter_refuses_by_name_and_counts_the_nodes(name: str) -> None:
    candidate, request = REFUSALS[name]
    outcome = plan(request, [candidate])
    assert outcome.refused["n"].filter == name
    assert outcome.refused["n"].text == WHY[name]
    assert outcome.chosen == ()
    assert outcome.explain() == f"0 of 1 replicas can be placed on 1 node: {TEXTS[name]}"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("space", "10 GiB are required"),
        ("desired IOPS", "2 IOPS are requested"),
        ("desired bandwidth", "2 B/s are requested"),
    ],
)
def test_a_refusal_can_be_explained_without_numbers_of_the_node(name: str, why: str) -> None:
    candidate, request = REFUSALS[name]
    assert plan(request, [candidate]).refused["n"].why == why


def test_a_filter_that_a_request_does_not_ask_for_refuses_no_node() -> None:
    skipped = 0
    for one in FILTERS:
        for _, request in REFUSALS.values():
            for candidate, _ in REFUSALS.values():
                asked = bool(one.asks(request))
                assert asked or one.passes(candidate, request), (one.name, request, candidate)
                skipped += not asked
    assert skipped


def test_a_refusal_names_what_was_wanted_and_counts_nodes() -> None:
    nodes = [
        node("a", zone="z1"),
        node("b", zone="z2"),
        node("c", in_use=False),
        node("d", available=False, zone="z1"),
    ]
    nowhere = plan(a_request(zones=("nowhere",)), nodes)
    assert nowhere.explain() == (
        "0 of 1 replicas can be placed on 4 nodes: "
        "zone nowhere: 0 of 4 nodes; 1 node cordoned; 1 node unavailable"
    )
    some = plan(a_request(zones=("z1", "z2"), replicas=3), nodes)
    assert some.explain() == (
        "2 of 3 replicas can be placed on 4 nodes: zone z1 or z2: 3 of 4 nodes; 1 node cordoned; "
        "1 node unavailable; 2 nodes that already have a replica"
    )
    assert plan(a_request(), nodes[:1]).explain() == "1 of 1 replicas can be placed on 1 node"
    assert "None" not in nowhere.explain() + "".join(r.text for r in nowhere.refused.values())


def test_a_refusal_for_space_names_the_needed_space() -> None:
    small = [node("n", free=(9,))]
    texts = {
        plan(a_request(**changes), small).explain().rpartition("less than ")[2]
        for changes in (
            {"allow_span": True},
            {"claimed_bytes": 10 * GIB + 1},
            {"sub_volumes": ((5 * GIB, 5 * GIB), (5 * GIB, 5 * GIB))},
        )
    }
    assert texts == {
        "10 GiB free on all SSDs together",
        "10737418241 bytes free on one SSD",
        "10 GiB free on 2 SSDs, like the source replica",
    }


def test_a_node_and_a_rack_get_one_replica() -> None:
    nodes = [node("a", rack="1"), node("b", rack="1"), node("c", rack="2"), node("d"), node("e")]
    outcome = plan(a_request(replicas=5), nodes)
    assert sorted(r.node.rack_key for r in outcome.chosen) == [
        "node d",
        "node e",
        "rack 1",
        "rack 2",
    ]
    assert [refusal.why for refusal in outcome.refused.values()] == ["rack 1 already has a replica"]
    assert "4 nodes that already have a replica; 1 node in a rack that already has a replica" in (
        outcome.explain()
    )


def test_racks_may_repeat_if_the_storage_class_allows_it() -> None:
    nodes = [node("a", rack="1"), node("b", rack="1"), node("c", rack="1")]
    outcome = plan(a_request(replicas=3, same_rack_allowed=True), nodes)
    assert outcome.complete
    assert len({r.node.persistent_id for r in outcome.chosen}) == 3


def test_added_replicas_avoid_nodes_and_racks_of_present_ones() -> None:
    nodes = [node("a", rack="1"), node("b", rack="1"), node("c", rack="2")]
    request = a_request(taken_nodes=frozenset({"a"}), taken_racks=frozenset({"rack 1"}))
    outcome = plan(request, nodes)
    assert [r.node.persistent_id for r in outcome.chosen] == ["c"]
    assert {node: refusal.filter for node, refusal in outcome.refused.items()} == {
        "a": "one replica per node",
        "b": "one replica per rack",
    }


def test_the_emptier_node_is_chosen_and_equal_nodes_share_the_load() -> None:
    assert [
        r.node.name for r in plan(a_request(), [node("a", free=(50, 50)), node("b")]).chosen
    ] == ["b"]
    chosen = {
        plan(a_request(seed=str(n)), [node("a"), node("b"), node("c")]).chosen[0].node.name
        for n in range(50)
    }
    assert chosen == {"a", "b", "c"}


def test_the_less_loaded_node_is_chosen() -> None:
    """IOPS and bandwidth count alike. The space of all nodes is equal."""
    nodes = [node("a", used_iops=500), node("b", used_bw=500), node("c", used_iops=9, used_bw=9)]
    for performance in ({}, {"desired_iops": 10}, {"desired_bw": 10}):
        for seed in range(20):
            request = a_request(seed=str(seed), replicas=3, **performance)
            assert plan(request, nodes).chosen[0].node.name == "c"


def test_space_and_performance_have_the_same_weight() -> None:
    nodes = [node("a", free=(50, 50)), node("b", used_bw=400), node("c", used_iops=600)]
    chosen = plan(a_request(replicas=3), nodes).chosen
    assert [one.node.name for one in chosen] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("free", "span", "expected"),
    [
        ((30, 90, 60), False, [(1, 80, 80)]),
        ((30, 70, 60), False, None),
        ((30, 70, 60), True, [(1, 70, 70), (2, 10, 10)]),
        ((30, 30, 10), True, None),
    ],
)
def test_a_layout_uses_one_ssd_or_the_fewest_that_suffice(
    free: tuple[int, ...], span: bool, expected: list[tuple[int, int, int]] | None
) -> None:
    sub_volumes = lay_out(
        node("n", free=free).drives,
        capacity_bytes=80 * GIB,
        claimed_bytes=80 * GIB,
        allow_span=span,
    )
    found = sub_volumes and [
        (p.drive.id, p.capacity_bytes // GIB, p.claimed_bytes // GIB) for p in sub_volumes
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("free", "claims", "expected"),
    [
        ((30, 90, 60), (20, 60), [(2, 20, 20), (1, 60, 60)]),
        ((90, 10, 60), (10, 30), [(2, 20, 10), (0, 60, 30)]),
        ((90, 10, 10), (20, 60), None),
        ((900,), (20, 60), None),
    ],
)
def test_a_prescribed_layout_puts_each_sub_volume_on_its_own_ssd(
    free: tuple[int, ...], claims: tuple[int, int], expected: list[tuple[int, int, int]] | None
) -> None:
    """Each on its own SSD, in order, even if all would fit on one."""
    sub_volumes = lay_out(
        node("n", free=free).drives,
        capacity_bytes=80 * GIB,
        claimed_bytes=sum(claims) * GIB,
        allow_span=True,
        sub_volumes=((20 * GIB, claims[0] * GIB), (60 * GIB, claims[1] * GIB)),
    )
    found = sub_volumes and [
        (p.drive.id, p.capacity_bytes // GIB, p.claimed_bytes // GIB) for p in sub_volumes
    ]
    assert found == expected


DRIVES = st.lists(st.integers(0, 200 * 1024), min_size=1, max_size=6).map(
    lambda mibs: tuple(Drive(n, str(n), mib * 2**20 + n) for n, mib in enumerate(mibs))
)
NODES = st.lists(
    st.tuples(DRIVES, st.sampled_from(["a", "b", None]), st.booleans()), max_size=8
).map(
    lambda rows: [
        node(f"n{i}", drives=drives, rack=rack, available=up)
        for i, (drives, rack, up) in enumerate(rows)
    ]
)


@given(
    nodes=NODES,
    replicas=st.integers(1, 4),
    gib=st.integers(1, 400),
    percent=st.integers(1, 100),
    span=st.booleans(),
    same_rack=st.booleans(),
)
def test_any_plan_keeps_the_rules(
    nodes: list[Candidate], replicas: int, gib: int, percent: int, span: bool, same_rack: bool
) -> None:
    request = a_request(
        replicas=replicas,
        capacity_bytes=gib * GIB,
        claimed_bytes=gib * GIB * percent // 100,
        allow_span=span,
        same_rack_allowed=same_rack,
    )
    outcome = plan(request, nodes)
    chosen = [r.node.persistent_id for r in outcome.chosen]
    assert len(chosen) == len(set(chosen)) <= replicas
    assert not set(chosen) & set(outcome.refused)
    if not same_rack:
        racks = [r.node.rack_key for r in outcome.chosen]
        assert len(racks) == len(set(racks))
    for replica in outcome.chosen:
        assert replica.node.available
        assert sum(p.capacity_bytes for p in replica.sub_volumes) == request.capacity_bytes
        assert sum(p.claimed_bytes for p in replica.sub_volumes) == request.claimed_bytes
        for sub_volume in replica.sub_volumes:
            assert 0 < sub_volume.claimed_bytes <= sub_volume.drive.free_bytes
            assert 0 < sub_volume.claimed_bytes <= sub_volume.capacity_bytes
            assert sub_volume.capacity_bytes % PIECE_BYTES == 0
    assert outcome == plan(request, nodes)


def test_a_node_that_does_not_answer_is_chosen_last() -> None:
    nodes = [node("a", answers=False, free=(100, 100)), node("b", free=(20, 20)), node("c")]
    assert [one.node.name for one in plan(a_request(replicas=2), nodes).chosen] == ["c", "b"]
    assert [one.node.name for one in plan(a_request(replicas=3), nodes).chosen] == ["c", "b", "a"]
