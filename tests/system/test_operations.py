"""The procedures of docs/operations.md, on real processes."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.system.stack import Stack

pytestmark = pytest.mark.timeout(120)
OLD, NEW = "old-data-key-" * 4, "new-data-key-" * 4


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    running = Stack({"DATA_KEYS": OLD, "COLLECT_INTERVAL_SECONDS": "1"})
    yield running
    running.stop()


def beat_sends(stack: Stack) -> None:
    """No worker runs, so the queue grows. A beat that ends is started, as by its supervisor."""
    queued = stack.redis.client.llen
    before, end = int(queued("celery")), time.monotonic() + 60
    while int(queued("celery")) < before + 3:
        assert time.monotonic() < end, [beat.log.read_text()[-2000:] for beat in stack.beats]
        for beat in stack.beats:
            if beat.running.poll() is not None:
                beat.start()
        time.sleep(0.1)


def test_beat_goes_on_after_redis_forgot_all(stack: Stack) -> None:
    for worker in stack.workers:
        worker.kill()
    beat_sends(stack)
    stack.redis.flush()
    beat_sends(stack)
    for worker in stack.workers:
        worker.start()


def test_a_backup_restored_beside_it(stack: Stack) -> None:
    backup = stack.folder / "backup"
    programs = stack.postgres.programs
    url = stack.postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    restored = url.replace("/provisioner", "/restored")
    commands: tuple[list[str | Path], ...] = (
        [programs / "pg_dump", "--format=custom", f"--file={backup}", url],
        [programs / "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={restored}", backup],
    )
    for command in commands:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    before = stack.environment["DATABASE_URL"]
    stack.environment["DATABASE_URL"] = restored
    try:
        stack.manage("migrate", "--check")
        assert stack.manage("audit").strip() == "0 differences"
    finally:
        stack.environment["DATABASE_URL"] = before


def test_data_keys_are_rotated(stack: Stack) -> None:
    put = "from provisioner.access.secrets import encrypt; from inventory.models import License; "
    get = "from inventory.services.licenses import license_text; print(license_text())"
    stack.manage("shell", "-c", put + "License.objects.update(encrypted_text=encrypt('terms'))")
    stack.environment["DATA_KEYS"] = f"{NEW},{OLD}"
    said = stack.manage("rotate_data_keys")
    assert said.strip() == "1 secrets encrypted with the first key of DATA_KEYS"
    stack.environment["DATA_KEYS"] = NEW
    assert stack.manage("shell", "-c", get).split()[-1] == "terms"
