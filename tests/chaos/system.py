"""The system that faults are caused in: the whole production form, and a pool of simulated
nodes.
"""

import signal
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
CALLERS = 8
SPANS = {
    "COLLECT_INTERVAL_SECONDS": "1",
    "UNFINISHED_SECONDS": "5",
    "NODE_CALL_SECONDS": "4",
    "PROBE_INTERVAL_SECONDS": "3",
    "POLL_INTERVAL_SECONDS": "1",
    "NODE_CHECK_INTERVAL_SECONDS": "5",
    "MIGRATION_SILENCE_SECONDS": "20",
}


class System:
    """The running system. ``folder`` keeps logs and the contents of the nodes. ``each``,
    ``python_path``: see Stack.
    """

    def __init__(self, folder: Path, *, each: int = 2, python_path: str = "") -> None:
        self.stack = Stack(SPANS, each=each, folder=folder, python_path=python_path)
        try:
            self._start_nodes(folder)
            self.tokens = self.stack.tokens(CALLERS)
            self._join()
            for number in range(NODES):
                self.node_faults(number)
        except BaseException:
            self.stop()
            raise

    @property
    def services(self) -> list[Service]:
        """The processes that a supervisor starts again when they end by themselves."""
        stack = self.stack
        return [*stack.apis, *stack.workers, *stack.periodic, *stack.beats]

    def connect(self) -> psycopg.Connection[Any]:
        """Connect to the database.

        :raises psycopg.OperationalError: the database is down.
        """
        url = self.stack.postgres.url
        return psycopg.connect(url, autocommit=True, connect_timeout=2)

    def node(self, number: int, method: str, path: str, body: object = None) -> Any:
        """Call the API of a node.

        :raises urllib3.exceptions.HTTPError: it is down.
        """
        address = self.nodes[number][1]
        url = f"https://{address}{path}"
        answer = self._http.request(method, url, json=body, timeout=10)
        return answer.json() if answer.data else None

    def node_faults(self, number: int, *calls: Mapping[str, object], down: float = 0) -> None:
        """Set exactly these faults of calls. ``down``: seconds for which the node refuses
        connections.

        :raises urllib3.exceptions.HTTPError: it is down.
        """
        body = {"calls": [BASE_SLOWNESS, *calls], "downSeconds": down}
        self.node(number, "PUT", "/sim/faults", body)

    def renew_certificates(self) -> None:
        """Renew all certificates. HAProxy and the nodes load theirs now, the other processes when
        they start again.
        """
        self.stack.renew_certificates()
        self._nodes.running.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        self.stack.stop()
        if hasattr(self, "_nodes"):
            self._nodes.kill()

    def _start_nodes(self, folder: Path) -> None:
        certificate, key = self.stack.certificates.node
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
            cert_file=str(self.stack.certificates.provisioner),
            retries=False,
        )
        self.nodes = announced(log, NODES)

    def _join(self) -> None:
        for number, (_, place) in enumerate(self.nodes):
            address, port = place.split(":")
            body = {"mgmtIPs": [address], "mgmtPort": int(port), "rack": f"r{number // 2}"}
            headers = {"Authorization": f"Bearer {self.tokens[0]}"}
            answer = self.stack.pool().request(
                "POST", f"{self.stack.url}/backends", json=body, headers=headers, timeout=30
            )
            assert answer.json()["status"] == "Success", answer.data
