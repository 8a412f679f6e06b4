"""A broker that accepts connections and answers nothing delays only a few callers, a little."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests import servers
from tests.system.stack import Redis

pytestmark = pytest.mark.django_db(transaction=True)

FROZEN_BROKER = """
import json, os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
import django
django.setup()
from django.db import connection, transaction
from provisioner.celery import sender
from provisioner.common.queue import enqueue_on_commit

def read(n=0):
    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    connection.close()
    return time.monotonic() - began

def write(n=0):
    began = time.monotonic()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        enqueue_on_commit("inventory.jobs.refresh_backend", str(n))
    connection.close()
    return time.monotonic() - began

broker = int(sys.argv[1])
with ThreadPoolExecutor(16) as threads:
    list(threads.map(write, range(16)))
    os.kill(broker, signal.SIGSTOP)
    writes = [threads.submit(write, n) for n in range(12)]
    time.sleep(0.3)
    reads = list(threads.map(read, range(3)))
    first = [write.result() for write in writes]
    later = [write() for _ in range(100)]
    os.kill(broker, signal.SIGCONT)
    skipped = sender.waiting("celery")
    while sender.waiting("celery") == skipped:
        write()
        time.sleep(0.1)
print(json.dumps({"reads": reads, "first": first, "later": later}))
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Redis]:
    try:
        running = Redis(tmp_path)
    except servers.NoServer as error:
        pytest.skip(str(error))
    yield running
    running.running.send_signal(signal.SIGCONT)
    running.kill()


def test_a_frozen_broker_occupies_no_database_connection_and_delays_few_writes(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are fewer connections than writes. The script ends when messages are sent again."""
    monkeypatch.setenv("REDIS_URL", broker.url)
    parameters = connection.settings_dict
    if connection.vendor == "postgresql":
        place = "{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format_map(parameters)
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{place}")
    monkeypatch.setenv("API_THREADS", "1")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "5")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "provisioner.settings")
    run = subprocess.run(
        [sys.executable, "-c", FROZEN_BROKER, str(broker.running.pid)],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    seconds = json.loads(run.stdout)
    print({name: round(max(taken), 2) for name, taken in seconds.items()})
    assert max(seconds["reads"]) < 0.9
    assert max(seconds["first"]) < 6, "those that had no connection yet need two tries"
    assert sum(seconds["later"]) < 20, "nothing is sent during the rest"
    assert "OperationalError" in run.stderr, "the failure is logged"
