"""Requests of one caller that wait for a locked row leave connections to others."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connection

from provisioner.access.concurrency import turn_bounds
from tests.conftest import Answer, Api
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def probe(api: Api, name: str) -> Answer:
    nqn = "nqn.2014-08.org.nvmexpress:h0"
    about = {"clientType": "Openstack", "version": "3.22.170", "duration": 30}
    return api.post("/host_probe", {"hostId": "h0", "hostNqn": nqn, "name": name} | about)


def test_others_are_answered_while_a_caller_waits_for_a_row_in_all_its_turns(api: Api) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    one, other = api.as_role("ADMIN"), api.as_role("MONITOR", tenant="t1")
    assert probe(one, "n").http == 200
    most = turn_bounds().most_of_one
    wrapper: Any = connection
    with (
        psycopg.connect(**wrapper.get_connection_params()) as lock,
        psycopg.connect(**wrapper.get_connection_params(), autocommit=True) as observer,
        ThreadPoolExecutor(most) as callers,
    ):
        lock.execute("SELECT FROM inventory_host WHERE uuid = 'h0' FOR UPDATE")
        answers = [callers.submit(probe, one, f"n{n}") for n in range(most)]

        def all_wait() -> bool:
            return observer.execute(WAITING).fetchone() == (most,)

        try:
            eventually(all_wait, seconds=10, what="all requests wait for the row")
            for path in ("/volumes", "/readyz"):
                began = time.monotonic()
                assert other.get(path).http == 200
                assert time.monotonic() - began < 5
        finally:
            lock.rollback()
        assert {answer.result(30).http for answer in answers} == {200}
