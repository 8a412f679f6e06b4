"""All commands of docs/how-to/install.md, with the runtime requirements only."""

import json
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import urllib3
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from provisioner import __version__
from tests import pages
from tests.pages import Block
from tests.programs import tool
from tests.system.machine import Machine
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(1500)
SWAP = """
gone=$(api $url/backends | python3 -c 'import json, sys
print(*(b["persistentID"] for b in json.load(sys.stdin) if b["mgmtPort"] == 31103))')
api -X DELETE $url/backends/$gone
"""
SINCE_THE_BACKUP = """
for name in since-1 since-2; do
  api --json "{\\"alias\\": \\"$name\\", \\"uuid\\": \\"$name\\", \\"capacity\\": 1}" $url/volumes
done
"""
DUMPED = """
echo "dumped: $(pg_restore --file=- "$dump" | grep -c since-1)"
"""
RESTORED = """
echo "restored: $(api $url/volumes)"
api -X DELETE $url/volumes/since-1
"""
ORPHAN = "$(provisioner-manage orphans list | awk '/{}/ {{print $1}}')"
INSTEAD = {
    # of the node of docs/how-to/add-an-spdk-node.md: a simulated one, taken from the pool before
    '"mgmtIPs": ["10.0.0.11"], "mgmtPort": 443': '"mgmtIPs": ["127.0.0.1"], "mgmtPort": 31103',
    # of ids of orphans, which are counted over all checks of nodes
    "orphans adopt 17 ": f"orphans adopt {ORPHAN.format('since-1')} ",
    "orphans discard 18 ": f"orphans discard {ORPHAN.format('since-2')} ",
}
"""What stands for texts of the pages that differ from server to server."""


@dataclass
class Installed:
    machine: Machine
    output: str

    @property
    def password(self) -> str:
        [found] = re.findall(r"user admin, password (\S+)", self.output)
        return str(found)

    @property
    def ca(self) -> Path:
        return self.machine.folder / "root/provisioner-ca"

    def get(self, path: str, *, certificate: bool = True, credentials: bool = True) -> Any:
        client = str(self.ca / "ssdtoolbox.pem") if certificate else None
        headers = urllib3.make_headers(basic_auth=f"admin:{self.password}") if credentials else {}
        with urllib3.PoolManager(
            ca_certs=str(self.ca / "ca.pem"), cert_file=client, retries=False
        ) as http:
            url = f"https://127.0.0.1:{self.machine.port}{path}"
            return http.request("GET", url, headers=headers)


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """Run all blocks of the page in one shell, and then those of other pages that need its
    server.
    """
    for program in ("haproxy", "openssl"):
        tool(program)
    back_up, *restore = pages.of("server", "docs/how-to/back-up-and-restore.md")
    rest = [block for block in pages.of("server") if block.page != back_up.page]
    found = [
        *pages.of("install"),
        back_up,
        Block("", "sh", "", SINCE_THE_BACKUP),
        *restore,
        back_up,
        Block("", "sh", "", DUMPED),
        Block("", "sh", "", RESTORED),
        *rest,
        Block("", "sh", "", SWAP),
        *pages.of("node"),
    ]
    script = "".join(block.text for block in found)
    for shown, here in INSTEAD.items():
        assert script.count(shown) == 1
        script = script.replace(shown, here)
    with tempfile.TemporaryDirectory(prefix="p-", ignore_cleanup_errors=True) as folder:
        machine = Machine(Path(folder))
        try:
            yield Installed(machine, machine.run(script))
        finally:
            machine.stop()


def test_every_call_of_the_page_succeeds(installed: Installed) -> None:
    answers = re.findall(r'(?m)^\{.*"status": ?"(\w+)"', installed.output)
    assert len(answers) > 8, installed.output
    assert set(answers) == {"Success"}, installed.output
    assert f"\n{__version__}\n" in installed.output
    assert "0 differences" in installed.output


def test_redis_requires_the_password(installed: Installed) -> None:
    url = installed.machine.redis.url
    assert redis.Redis.from_url(url).ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(re.sub("//.*@", "//", url)).ping()


def test_volumes_created_since_the_backup_are_adopted_or_discarded(installed: Installed) -> None:
    assert "\nwrites are allowed again\n" in installed.output
    assert re.search(r"(?m)^\d+  .*'since-1'.*\n\d+  .*'since-2'.*$", installed.output)
    [volumes] = re.findall(r"(?m)^restored: (.*)$", installed.output)
    assert [volume["uuid"] for volume in json.loads(volumes)] == ["since-1"]


def test_a_backup_after_a_restore_contains_the_restored_database(installed: Installed) -> None:
    [count] = re.findall(r"(?m)^dumped: (\d+)$", installed.output)
    assert int(count) > 0
    settings = (installed.machine.folder / "etc/provisioner/settings.env").read_text()
    assert "/provisioner\n" in settings
    dumps = list((installed.machine.folder / "root/provisioner-backups").iterdir())
    assert {path.suffix for path in dumps} == {".dump"}
    assert {oct(path.stat().st_mode)[-3:] for path in dumps} == {"600"}


def test_the_page_for_hosts_shows_where_to_connect(installed: Installed) -> None:
    """docs/how-to/prepare-linux-hosts.md shows a command for each node with a replica."""
    said = r"(?m)^nvme connect -t tcp -a \S+ -s \d+ -n nqn\.2022-08\.com\.kioxia:[\w-]{36} -l -1$"
    assert len(re.findall(said, installed.output)) == 2


def test_only_the_runtime_requirements_are_installed(installed: Installed) -> None:
    found = installed.machine.folder / "opt/provisioner/.venv/lib"
    assert list(found.glob("python3*/site-packages/celery"))
    assert not list(found.glob("python3*/site-packages/pytest*"))


def test_the_nodes_probe_through_haproxy(installed: Installed) -> None:
    """HAProxy asks for client certificates, which the nodes do not have."""

    def have_probed() -> bool:
        nodes = json.loads(installed.get("/backends").data)
        assert [node["state"] for node in nodes] == ["Available"] * 3
        return all("lastProbTime" in node for node in nodes)

    eventually(have_probed, seconds=90, what=installed.machine.logs, pause=0.2)


def test_each_key_is_readable_only_by_its_service(installed: Installed) -> None:
    machine = installed.machine
    tls = machine.folder / "etc/provisioner/tls"
    modes = {path.name: oct(path.stat().st_mode)[-3:] for path in tls.iterdir()}
    assert modes == {
        "ca.pem": "644",
        "haproxy.pem": "600",
        "provisioner.pem": "600",
        "simulated-nodes.pem": "600",
        "simulated-nodes.key": "600",
    }
    owners = machine.owners()
    assert owners["haproxy.pem"] == "haproxy:haproxy"
    assert owners["provisioner.pem"] == "provisioner:provisioner"
    settings = machine.folder / "etc/provisioner/settings.env"
    assert oct(settings.stat().st_mode)[-3:] == "640"
    code = machine.folder / "opt/provisioner"
    assert [path for path in code.rglob("*.key") if ".venv" not in path.parts] == []


def test_callers_without_a_certificate_are_refused(installed: Installed) -> None:
    for path in ("/info", "/backends", "/admin/login/", "/docs"):
        assert installed.get(path, certificate=False).status == 403
    assert installed.get("/metrics", certificate=False, credentials=False).status == 403
    assert installed.get("/metrics", certificate=False).status == 200


def test_browsers_see_the_administration_and_the_description(
    installed: Installed, tmp_path: Path
) -> None:
    stored = load_pkcs12((installed.ca / "browser.p12").read_bytes(), installed.password.encode())
    assert stored.cert
    assert stored.key
    pem = tmp_path / "browser.pem"
    key = stored.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(stored.cert.certificate.public_bytes(Encoding.PEM) + key)
    context = ssl.create_default_context(cafile=installed.ca / "ca.pem")
    context.load_cert_chain(pem)
    url = f"https://127.0.0.1:{installed.machine.port}"
    with urllib3.PoolManager(ssl_context=context, retries=False) as http:
        assert http.request("GET", f"{url}/docs").status == 200
        page = http.request("GET", f"{url}/admin/login/")
        assert f"Provisioner {__version__}" in page.data.decode()
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        form = {
            "username": "admin",
            "password": installed.password,
            "csrfmiddlewaretoken": cookie.partition("=")[2],
        }
        headers = {"Cookie": cookie, "Referer": f"{url}/admin/login/"}
        login = http.request_encode_body(
            "POST", f"{url}/admin/login/", fields=form, headers=headers, encode_multipart=False
        )
        assert (login.status, bool(login.headers.get("Location"))) == (302, True)


def test_workers_show_their_metrics(installed: Installed) -> None:
    for kind in ("3020", "3021"):
        for number in "12":
            port = f"{installed.machine.prefixes[kind]}{number}"
            text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
            assert "provisioner_jobs_total" in text
            assert "provisioner_clock_skew_seconds" in text
            assert "uuid=" not in text
