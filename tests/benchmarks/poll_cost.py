"""Measures how much CPU time the turns of callers cost a poll: ``python -m
tests.benchmarks.poll_cost TOKEN HOSTS``.

The same polls run in one thread, with turns and without, in alternating rounds. The result is the
CPU time of the thread in the cheapest round, so that other load of the machine has no effect.
"""

import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "provisioner.settings")

import django

django.setup()

from django.test import Client  # noqa: E402

from provisioner.access import views  # noqa: E402
from provisioner.access.concurrency import RequestTurn  # noqa: E402

POLLS = 200
ROUNDS = 15
USED = "RequestTurn"
"""The name by which the views use it."""


class NoTurn:
    def __init__(self, caller: object) -> None:
        pass

    def close(self) -> None:
        pass


def polls(client: Client, hosts: int) -> float:
    """Return the CPU milliseconds of a poll."""
    began = time.thread_time()
    for number in range(POLLS):
        answer = client.get(f"/tasks?hostId=host-{number % hosts}")
        assert answer.status_code == 200, answer.content
    return (time.thread_time() - began) * 1000 / POLLS


def main(token: str, hosts: int) -> None:
    """Print both figures: with turns, and without."""
    client = Client(headers={"Authorization": f"Bearer {token}", "X-SSL-Client-Verify": "x"})
    taken: dict[type, list[float]] = {RequestTurn: [], NoTurn: []}
    assert vars(views)[USED] is RequestTurn  # otherwise, both figures are of the same polls
    polls(client, hosts)
    for _ in range(ROUNDS):
        for kind, found in taken.items():
            vars(views)[USED] = kind
            found.append(polls(client, hosts))
    print(*(min(found) for found in taken.values()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
