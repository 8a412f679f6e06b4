"""What the units of deploy/systemd must say so that their processes work, stop and come back.

systemd-analyze rates only how few privileges they have: a unit that cannot work is rated well.
"""

import re
from collections.abc import Iterable

import pytest

from tests import pages
from tests.system.deploy_steps import DEPLOY
from tests.system.shipped import PAGE
from tests.system.units import Unit

FOLDER = DEPLOY / "systemd"
APIS = ["provisioner-api@30101.service", "provisioner-api@30102.service"]
WORKERS = [f"provisioner-{role}@{n}.service" for role in ("worker", "periodic") for n in (1, 2)]
BEAT, HAPROXY = "provisioner-beat.service", "provisioner-haproxy.service"
LINUX, SPDK = "provisioner-linux-node-agent.service", "provisioner-node-agent.service"
SIMULATED = "provisioner-simulated-nodes.service"
OURS = [*APIS, *WORKERS, BEAT]
PARTS = [*OURS, HAPROXY]
AGENTS = [LINUX, SPDK, SIMULATED]
WITHOUT_ROOT = [*PARTS, SPDK, SIMULATED]
NETWORK = "AF_INET AF_INET6 AF_UNIX"

RULES = [
    (PARTS, "PartOf", "provisioner.target", "a stop or restart of the target leaves it as it is"),
    (PARTS, "WantedBy", "provisioner.target", "it is not enabled with the target"),
    (AGENTS, "WantedBy", "multi-user.target", "it does not start with the machine"),
    (PARTS, "StartLimitIntervalSec", "0", "it stays down after PostgreSQL was away for 10 s"),
    ([*PARTS, *AGENTS], "Restart", "always", "it stays down after it has ended"),
    ([*PARTS, *AGENTS], "RestartSec", "2", "it fails and starts ten times in a second"),
    ([*OURS, SPDK, SIMULATED], "User", "provisioner", "it runs as root"),
    ([HAPROXY], "User", "haproxy", "Debian's HAProxy cannot read the files of its user"),
    ([LINUX], "User", "", "lvm and configfs need root"),
    # mixed: SIGTERM goes to the main process, which ends its children in order
    (PARTS, "KillMode", "mixed", "children are stopped while they still have requests or tasks"),
    ([LINUX], "KillMode", "process", "a running command of LVM is killed"),
    ([HAPROXY], "Type", "notify", "a reload signals a process that is not yet ready for it"),
    ([HAPROXY], "KillSignal", "SIGUSR1", "HAProxy ends at once, without its requests"),
    (OURS, "StateDirectory", "provisioner", "DATA_DIR does not exist or cannot be written"),
    ([SIMULATED], "StateDirectory", "provisioner-nodes", "nodes cannot write their data"),
    ([SPDK, LINUX], "StateDirectory", "provisioner-node", "the agent cannot write its state"),
    ([*WITHOUT_ROOT], "RestrictAddressFamilies", NETWORK, "it reaches no network or no socket"),
    ([LINUX], "RestrictAddressFamilies", f"{NETWORK} AF_NETLINK", "udev says nothing to LVM"),
    (WITHOUT_ROOT, "SystemCallFilter", "@system-service", "it is killed at its first call"),
    ([LINUX], "SystemCallFilter", "@system-service @module", "modprobe is killed"),
    ([*OURS, SIMULATED], "CapabilityBoundingSet", "", "it has privileges that it does not use"),
    ([HAPROXY, SPDK], "CapabilityBoundingSet", "CAP_NET_BIND_SERVICE", "it cannot open port 443"),
    ([HAPROXY, SPDK], "AmbientCapabilities", "CAP_NET_BIND_SERVICE", "it cannot open port 443"),
    (WITHOUT_ROOT, "ProtectSystem", "strict", "it can write outside its folder"),
    ([LINUX], "ProtectSystem", "full", "LVM cannot write /run and /etc/lvm"),
    (WITHOUT_ROOT, "PrivateDevices", "yes", "it sees the disks"),
    ([LINUX], "PrivateDevices", "", "it sees no disk"),
    ([LINUX], "ProtectKernelModules", "", "modprobe nvmet fails"),
    ([LINUX], "ProtectKernelTunables", "", "configfs, in /sys, cannot be written"),
    ([*PARTS, *AGENTS], "UMask", "0077", "other users read its files"),
]
"""Units, what each must say, and what happens otherwise. Empty: systemd's default is right."""
ROOTS = {
    "CAP_SYS_ADMIN": "device mapper, and configfs of nvmet",
    "CAP_SYS_MODULE": "modprobe",
    "CAP_SYS_RAWIO": "commands to disks",
    "CAP_DAC_OVERRIDE": "files of other users, as /etc/lvm",
    "CAP_MKNOD": "dmsetup creates device nodes",
    "CAP_FOWNER": "modes of these nodes",
    "CAP_CHOWN": "owners of these nodes",
    "CAP_IPC_OWNER": "semaphores of udev, which LVM waits for",
    "CAP_NET_BIND_SERVICE": "port 443",
}
"""What the agent of the engine ``linux`` may do as root, and for what."""


def unit(name: str) -> Unit:
    return Unit(FOLDER, name, str)


@pytest.mark.parametrize(
    ("units", "key", "value", "otherwise"), RULES, ids=[f"{r[1]}-{r[2] or 'no'}" for r in RULES]
)
def test_units_say(units: Iterable[str], key: str, value: str, otherwise: str) -> None:
    for name in units:
        assert " ".join(unit(name).words(key)) == value, f"{name}: {otherwise}"


def test_the_tables_name_each_unit() -> None:
    files = {path.name for path in FOLDER.glob("*.service")}
    assert files == {re.sub(r"@\d+", "@", name) for name in [*PARTS, *AGENTS]}


def test_the_target_starts_all_parts() -> None:
    """Two of each process, so that one can be restarted."""
    wanted = unit("provisioner.target").words("Wants")
    assert sorted(wanted) == sorted(PARTS)
    assert unit("provisioner.target").value("WantedBy") == "multi-user.target"


def test_haproxy_calls_the_apis_that_the_target_starts() -> None:
    called = [unit(HAPROXY).environment[name] for name in ("API_1", "API_2")]
    ports = [unit(name).environment["API_PORT"] for name in APIS]
    assert called == [f"127.0.0.1:{port}" for port in ports]


def test_units_and_commands_have_the_same_settings_and_data() -> None:
    """``provisioner-manage`` runs commands as the user of the units, and the page writes the file
    of settings.
    """
    command = (FOLDER / "provisioner-manage").read_text()
    variables = dict(re.findall(r"\b([A-Z_]+)=(\S+)", command))
    [page] = [b.text for b in pages.of("install", PAGE) if "/settings.env <<END" in b.text]
    assert f"{variables['SETTINGS_FILE']} <<END" in page
    for name in OURS:
        read = unit(name)
        assert f"runuser -u {read.value('User')} " in command
        assert {k: read.environment[k] for k in variables} == variables, name
        assert variables["DATA_DIR"] == f"/var/lib/{read.value('StateDirectory')}"


def test_the_agent_with_root_has_the_capabilities_that_it_uses() -> None:
    assert set(unit(LINUX).words("CapabilityBoundingSet")) == set(ROOTS)


def test_nodes_keep_their_state_where_they_may_write() -> None:
    """``ProtectSystem=strict`` makes all other folders read-only."""
    [data] = re.findall(r"--data (\S+)", unit(SIMULATED).value("ExecStart"))
    assert data == f"/var/lib/{unit(SIMULATED).value('StateDirectory')}"
    for name, engine in ((LINUX, "linux"), (SPDK, "spdk")):
        page = DEPLOY.parent / f"docs/how-to/add-{'a' if name == LINUX else 'an'}-{engine}-node.md"
        folders = re.findall(r'(?m)^state_folder = "(.+)"$', page.read_text())
        assert folders == [f"/var/lib/{unit(name).value('StateDirectory')}"]


def test_haproxy_tells_systemd_that_it_is_ready() -> None:
    """Only with -Ws. Otherwise ``Type=notify`` waits until its time is over."""
    [command] = unit(HAPROXY).commands("ExecStart")
    assert "-Ws" in command
