"""``manage.py node_agent``: serves a storage node until stopped."""

import asyncio
import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.nodes.engines.node_config import NodeConfig, WrongConfig
from inventory.nodes.engines.read_config import read_config


class Command(BaseCommand):
    """Serves a storage node. It uses its own database file in ``state_folder``, and no other
    database and no Redis.

    :raises CommandError: the configuration, the port, a file or the folder cannot be used.
    """

    help = (
        "Serve this machine's drives as a storage node, over its SPDK target or its Linux kernel, "
        "until SIGTERM or SIGINT. SIGHUP reads renewed certificates. "
        "docs/how-to/add-an-spdk-node.md and docs/how-to/add-a-linux-node.md explain "
        "how to set up a node from a bare server."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--config", type=Path, required=True, help="TOML file")
        parser.add_argument(
            "--format",
            action="append",
            default=[],
            metavar="SSD",
            help="id of an SSD to overwrite, even if it contains data; may be repeated",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            config = read_config(options["config"], to_format=options["format"])
            with _state_folder(config.state_folder):
                config.prepare()
                asyncio.run(_serve(config))
        except (WrongConfig, OSError) as error:
            raise CommandError(f"cannot serve: {error}") from error


@contextmanager
def _state_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this process.

    :raises WrongConfig: another process has locked it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WrongConfig(f"state_folder: another agent uses {folder}") from None
        yield


async def _serve(config: NodeConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = config.open_database()
    service = config.make_service(database)
    renew = partial(config.tls.renew, service.listener.tls)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, renew)
    await service.open()
    node = config.identity
    print(f"{node.persistent_id} {node.addresses[0]}:{service.listener.port}", flush=True)
    await stop.wait()
    await service.close()
    database.close()
