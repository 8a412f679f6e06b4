"""A change that commits between two statements of another one is noticed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from inventory.nodes.engines.simulated import SimulatedFleet
from provisioner.common import clock
from provisioner.common.models import LifeState
from tests.api.replicas_steps import all_available, replicated, report
from tests.api.volume_steps import created, probe_host, published
from tests.conftest import Api
from volumes.audit import audit
from volumes.models import Export, Publication, Replica, Volume
from volumes.services.publication.exports import mark_publications_deleting

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer"),
]
Pool = Callable[[int], list[str]]


@contextmanager
def committed_late(change: Callable[[], object]) -> Iterator[None]:
    """A context that begins with the change made by another session, which commits it soon."""
    made = threading.Event()

    def work() -> None:
        with transaction.atomic():
            change()
            made.set()
            time.sleep(0.5)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    assert made.wait(10)
    yield
    thread.join()


def test_a_publication_that_another_attempt_completes_keeps_its_exports(
    api: Api, pool: Pool
) -> None:
    pool(1)
    published(api, created(api, "v"), probe_host(api))
    rows = Publication.objects.filter(state=LifeState.CREATING)
    Publication.objects.update(state=LifeState.CREATING, deadline_at=clock.now())
    with (
        committed_late(lambda: rows.update(state=LifeState.READY, deadline_at=None)),
        transaction.atomic(),
    ):
        assert mark_publications_deleting(rows, deadline_at=clock.now()) == []
    assert Publication.objects.get().state == LifeState.READY
    assert Export.objects.get().state == LifeState.READY
    assert audit() == []


def test_a_replica_that_was_just_found_lost_does_not_become_available(
    api: Api, pool: Pool, fleet: SimulatedFleet
) -> None:
    pool(2)
    uuid = replicated(api)
    published(api, uuid, probe_host(api))
    lost, _ = all_available(api, uuid)
    assert report(api, uuid, lost, "Synchronizing").status == "Success"
    row = Replica.objects.filter(uuid=lost)
    node = next(n for n in fleet.nodes if n.persistent_id == row.get().backend_id)
    node.vanish(lost)

    def find() -> None:
        list(Volume.objects.select_for_update())
        row.update(replica_state="Missing")

    with committed_late(find):
        answer = report(api, uuid, lost, "Available")
    assert (answer.status, "lost it" in answer.description) == ("NotExists", True)
    assert row.get().replica_state == "Missing"
