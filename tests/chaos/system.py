"""What the faults strike: the whole production form, and a pool of simulated nodes."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import urllib3

from tests.system.stack import ROOT, Service, Stack, announced

NODES = 16
SSDS = 2
SSD_GIB = 128
COPY_MIB = 2048
"""Per second: the larger volumes take some seconds, so that faults meet them."""
BASE_SLOWNESS = {"kind": "SLOW", "milliseconds": 100, "times": 0}
"""Of every call of a node, so that faults meet changes that are half done."""
SETTINGS = {
    "API_WORKERS": "1",
    "API_THREADS": "16",
    "COLLECT_INTERVAL_SECONDS": "1",
    "UNFINISHED_SECONDS": "5",
    "NODE_CALL_SECONDS": "4",
    "CALLER_REQUESTS": "64",
    "PROBE_INTERVAL_SECONDS": "3",
    "POLL_INTERVAL_SECONDS": "1",
    "NODE_CHECK_INTERVAL_SECONDS": "5",
    "MIGRATION_SILENCE_SECONDS": "20",
    "REQUIRE_CLIENT_CERTIFICATE": "false",
}


class System:
    """``settings`` differ from SETTINGS. ``folder`` keeps logs and the nodes' contents."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.stack = Stack(SETTINGS | dict(settings or {}), folder=folder)
        try:
            self._start_nodes(folder)
            token = self.stack.manage(
                "token_create", "--name=chaos", "--role=ADMIN", "--expiration=7200"
            )
            self.headers = {"Authorization": f"Bearer {token.strip()}"}
            self._join()
            for number in range(NODES):
                self.node_faults(number)
        except BaseException:
            self.stop()
            raise

    @property
    def services(self) -> list[Service]:
        """Those that a supervisor starts again when they end by themselves."""
        stack = self.stack
        return [*stack.apis, *stack.workers, *stack.periodic, *stack.beats]

    def connect(self) -> psycopg.Connection[Any]:
        """:raises psycopg.OperationalError: the database is down."""
        url = self.stack.postgres.url
        return psycopg.connect(url, autocommit=True, connect_timeout=2)

    def node(self, number: int, method: str, path: str, body: object = None) -> Any:
        """Call a node's own API.

        :raises urllib3.exceptions.HTTPError: it is down.
        """
        address = self.nodes[number][1]
        url = f"https://{address}{path}"
        answer = self._http.request(method, url, json=body, timeout=10)
        return answer.json() if answer.data else None

    def node_faults(self, number: int, *calls: Mapping[str, object], down: float = 0) -> None:
        """These faults of calls and so many seconds down, and nothing else.

        :raises urllib3.exceptions.HTTPError: it is down.
        """
        body = {"calls": [BASE_SLOWNESS, *calls], "downSeconds": down}
        self.node(number, "PUT", "/sim/faults", body)

    def stop(self) -> None:
        self.stack.stop()
        if hasattr(self, "_nodes"):
            self._nodes.kill()

    def _start_nodes(self, folder: Path) -> None:
        certificate, key = self.stack.authority.node("nodes", ["127.0.0.1"])
        self.store = folder / "nodes" / "nodes.sqlite3"
        command = [sys.executable, str(ROOT / "manage.py"), "simulate_nodes", "--count", str(NODES)]
        command += ["--ssds", str(SSDS), "--ssd-gib", str(SSD_GIB), "--data", str(folder / "nodes")]
        command += ["--certificate", str(certificate), "--key", str(key)]
        command += ["--ca", str(self.stack.ca), "--require-client-certificate"]
        command += ["--copy-mib", str(COPY_MIB)]
        log = folder / "nodes.log"
        self._nodes = Service(command, self.stack.environment, log)
        self._http = urllib3.PoolManager(
            ca_certs=str(self.stack.ca),
            cert_file=str(self.stack.authority.provisioner()),
            retries=False,
        )
        self.nodes = announced(log, NODES)

    def _join(self) -> None:
        for number, (_, place) in enumerate(self.nodes):
            address, port = place.split(":")
            body = {"mgmtIPs": [address], "mgmtPort": int(port), "rack": f"r{number // 2}"}
            answer = self.stack.pool().request(
                "POST", f"{self.stack.url}/backends", json=body, headers=self.headers, timeout=30
            )
            assert answer.json()["status"] == "Success", answer.data
