"""``manage.py simulate_hosts``: runs simulated hosts until stopped."""

import asyncio
import base64
import contextlib
import os
import signal
import ssl
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inventory.simulated_hosts import Behaviour, Endpoint, SimulatedHosts

MIB = 2**20
PARENT_SECONDS = 0.5
TOKEN_VARIABLE = "HOST_TOKEN"  # noqa: S105
CREDENTIALS_VARIABLE = "HOST_CREDENTIALS"


class Command(BaseCommand):
    """Credentials come from a file or the environment, because all users can see arguments.

    :raises CommandError: a file is missing or empty, or an argument is not valid.
    """

    help = (
        "Run simulated hosts until SIGTERM or SIGINT. Each probes, reports and heals the replicas "
        "of the volumes published to it, and runs its migrations. Prints one line per host: "
        f"hostId NQN. Credentials: --token-file or {TOKEN_VARIABLE} with one token of role STORAGE "
        "for all hosts, or one token of role HOST per line and host; otherwise "
        f"--credentials-file or {CREDENTIALS_VARIABLE} with NAME:PASSWORD."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--count", type=int, default=1, help="how many hosts")
        parser.add_argument("--url", required=True, help="URL of the API: https://host:port")
        parser.add_argument("--name", default="host", help="prefix of the names; a number follows")
        parser.add_argument("--ca", type=Path, help="PEM file of the CA of the API's certificate")
        parser.add_argument("--certificate", type=Path, help="PEM file of the hosts' certificate")
        parser.add_argument("--key", type=Path, help="PEM file; default: in --certificate")
        parser.add_argument("--token-file", type=Path)
        parser.add_argument("--credentials-file", type=Path)
        parser.add_argument(
            "--client-type", default="Agent", choices=["Agent", "Kubernetes", "Openstack"]
        )
        parser.add_argument(
            "--only-report", action="store_true", help="report only: do not heal or migrate"
        )
        parser.add_argument(
            "--released-agent",
            action="store_true",
            help="send exactly the calls of KIOXIA's agent of release 3.22; --client-type, "
            "--agent-version, then --only-report and --look-seconds are ignored",
        )
        parser.add_argument("--agent-version", default="3.22", help="version that the hosts report")
        parser.add_argument("--probe-seconds", type=float, default=30)
        parser.add_argument("--poll-seconds", type=float, default=1, help="between polls of tasks")
        parser.add_argument(
            "--look-seconds", type=float, default=5, help="between checks of healthy volumes"
        )
        parser.add_argument(
            "--sync-mib",
            type=int,
            default=1024,
            help="MiB per second at which a leg is synchronized",
        )
        parser.add_argument(
            "--exit-with-parent", action="store_true", help="stop when the starting process ends"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        parent = os.getppid() if options["exit_with_parent"] else None
        try:
            context = ssl.create_default_context(cafile=options["ca"])
            if options["certificate"]:
                context.load_cert_chain(options["certificate"], options["key"])
            tokens = _tokens(options)
            endpoint = Endpoint.of(options["url"], context, _authorization(options, tokens))
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        names = [f"{options['name']}-{number + 1}" for number in range(options["count"])]
        own_tokens = tokens if tokens[1:] else ()
        released = options["released_agent"]
        hosts = SimulatedHosts(names, _behaviour(options), endpoint, own_tokens, released=released)
        asyncio.run(self._run(hosts, parent))

    async def _run(self, hosts: SimulatedHosts, parent: int | None) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        for agent in hosts.agents:
            self.stdout.write(f"{agent.uuid} {agent.nqn}")
        self.stdout.flush()
        running = asyncio.create_task(hosts.run())
        while not stop.is_set() and parent in (None, os.getppid()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARENT_SECONDS):
                    await stop.wait()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def _behaviour(options: dict[str, Any]) -> Behaviour:
    """The behaviour of the hosts.

    :raises CommandError: a number is not positive.
    """
    for name in ("count", "probe_seconds", "poll_seconds", "look_seconds", "sync_mib"):
        if options[name] <= 0:
            raise CommandError(f"--{name.replace('_', '-')} {options[name]}: must be more than 0")
    return Behaviour(
        client_type=options["client_type"],
        version=options["agent_version"],
        only_reports=options["only_report"],
        probe_seconds=options["probe_seconds"],
        poll_seconds=options["poll_seconds"],
        look_seconds=options["look_seconds"],
        bytes_per_second=options["sync_mib"] * MIB,
    )


def _tokens(options: dict[str, Any]) -> list[str]:
    """Return one token for all hosts, one token for each host, or none.

    :raises CommandError: the file is empty, or has neither one line nor one for each host.
    """
    tokens = _secret(options["token_file"], TOKEN_VARIABLE).split()
    if len(tokens) > 1 and len(tokens) != options["count"]:
        raise CommandError(
            f"there are {len(tokens)} tokens for {options['count']} hosts: give one token, or one "
            "for each host"
        )
    return tokens


def _authorization(options: dict[str, Any], tokens: list[str]) -> str:
    """Return the Authorization header, or "" if there are no credentials.

    :raises CommandError: the file is empty, or has no NAME:PASSWORD.
    """
    if tokens:
        return f"Bearer {tokens[0]}"
    credentials = _secret(options["credentials_file"], CREDENTIALS_VARIABLE)
    if credentials and ":" not in credentials:
        raise CommandError("the credentials must be NAME:PASSWORD")
    return f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else ""


def _secret(file: Path | None, variable: str) -> str:
    """Return the secret in the file or, without a file, in the environment.

    :raises CommandError: the file is empty.
    """
    secret = os.environ.get(variable, "") if file is None else file.read_text().strip()
    if file is not None and not secret:
        raise CommandError(f"{file} is empty")
    return secret
