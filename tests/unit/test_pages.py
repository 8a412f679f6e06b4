"""A test runs or reads each fenced block of the pages, or the block is listed here."""

import configparser
import json
import re
import subprocess
import tomllib

import pytest
from django.core.management import get_commands

from tests import pages
from tests.pages import ROOT, Block

RUN = {
    "install": "tests/system/test_install.py",
    "server": "tests/system/test_install.py",
    "node": "tests/system/test_install.py",
    "demo": "tests/system/test_demo_page.py",
    "tutorial": "tests/system/test_demo_page.py",
    "walk": "tests/system/test_demo_page.py",
    "laptop": "tests/lab/installed.py",
    "linux": "tests/lab/installed.py",
}
HARDWARE = "needs SPDK, drives, or a host's kernel"
COMPOSE = "needs a container engine; tests/system/test_deploy.py reads the files"
CLUSTER = "needs a cluster; tests/system/test_kubernetes.py reads the files"
NOT_RUN = {
    "README.md: make demo    # the whole system with four simulated nodes and a host; shows a "
    "demonstration, then keeps running": "CI runs both commands",
    "CONTRIBUTING.md: make test-tools    # creates .venv; lists missing Debian packages, and asks "
    "before it installs them": "CI runs both commands",
    "CONTRIBUTING.md: make test                                                           # the "
    "suite, in parallel": "CI runs all tests",
    "CONTRIBUTING.md: apt-get install --no-install-recommends mmdebstrap genext2fs "
    "qemu-system-x86 openssh-client e2fsprogs": "brings what make lab-test needs",
    "CONTRIBUTING.md: .venv/bin/python manage.py shell -c "
    "\"from tasks import runner; runner.run('ID')\"": ("tests/tasks/test_runner.py calls the same"),
    "README.md: pipx install ./provisionerctl": "tests/cli/test_package.py installs its wheel",
    "docs/explanation/chaos-tests.md: make chaos                       # 240 s of faults, a seed "
    "from the clock": ("takes minutes; tests/chaos/test_run.py is a short run"),
    "docs/reference/chaos-figures.md: for seed in 1 2 3; do make chaos SEED=$seed SECONDS=240; "
    "done": "the same",
    "docs/how-to/connect-cinder.md: openstack volume type create --property "
    "volume_backend_name=kumoscale-2 replicated": (
        "needs OpenStack; tests/api/test_cinder.py has the driver's calls"
    ),
    "docs/how-to/prepare-linux-hosts.md: modprobe nvme-tcp": HARDWARE,
    "docs/how-to/prepare-linux-hosts.md: mdadm --create /dev/md/data --level=1 --raid-devices=2 "
    "--metadata=1.2 --bitmap=internal --homehost=any \\": HARDWARE,
    "docs/how-to/prepare-linux-hosts.md: mdadm /dev/md/data --fail /dev/nvme0n1 "
    "--remove /dev/nvme0n1": HARDWARE,
    "docs/how-to/prepare-linux-hosts.md: mdadm --grow /dev/md/data --bitmap=none": HARDWARE,
    "docs/how-to/back-up-and-restore.md: install -d -m 0700 ~/provisioner-backups": COMPOSE,
    'docs/how-to/back-up-and-restore.md: compose="docker compose -f deploy/compose.yaml"': COMPOSE,
    "docs/how-to/back-up-and-restore.md: $compose stop haproxy api-1 api-2 worker-1 worker-2 "
    "periodic-1 periodic-2 beat-1 beat-2": COMPOSE,
    "docs/how-to/back-up-and-restore.md: kubectl -n provisioner scale --replicas=0 deployment/api "
    "deployment/worker deployment/periodic deployment/beat": CLUSTER,
    "docs/how-to/upgrade.md: git fetch --tags && git checkout v1.1.0": COMPOSE,
    "docs/how-to/install-with-compose.md: HOST=storage.example.com": COMPOSE,
    "docs/how-to/install-on-kubernetes.md: kubectl apply -f "
    "deploy/kubernetes/namespace.yaml": CLUSTER,
    "docs/how-to/install-on-kubernetes.md: kubectl apply -f deploy/kubernetes/secret.yaml": CLUSTER,
    "docs/how-to/monitor.md: install -m 0600 /dev/null metrics-password": CLUSTER,
    "docs/how-to/restart-and-scale.md: kubectl drain MACHINE --ignore-daemonsets "
    "--delete-emptydir-data --timeout=10m": CLUSTER,
    "docs/how-to/tls.md: kubectl -n provisioner create secret generic tls --from-file=haproxy.pem "
    "--from-file=ca.pem \\": CLUSTER,
    "docs/reference/events.md: provisionerctl events --volume db1            # for deleted "
    "objects: --about ID": "tests/cli/test_events.py runs the options",
    "docs/tutorial/first-volume.md: make demo": "the test of the tutorial starts the same system",
    "docs/tutorial/operate-the-pool.md: make demo": "the same",
    "docs/how-to/add-an-spdk-node.md: python manage.py check_drive /dev/nvme0n1      # as root; "
    "--destroy-data where something is on it": HARDWARE,
    "docs/how-to/add-an-spdk-node.md: git clone --recursive --branch v26.05 "
    "https://github.com/spdk/spdk /opt/spdk && cd /opt/spdk": HARDWARE,
    "docs/how-to/add-an-spdk-node.md: systemd-run --pty --uid=provisioner -p "
    "AmbientCapabilities=CAP_NET_BIND_SERVICE \\": HARDWARE,
    "docs/how-to/add-an-spdk-node.md: systemctl enable --now spdk provisioner-node-agent": HARDWARE,
    "docs/how-to/add-an-spdk-node.md: nvme connect -t tcp -a 10.1.0.11 -s 4420 -n "
    "nqn.2022-08.com.kioxia:6d4a8383-c09f-4f91-836d-5ed192ca6f64": HARDWARE,
    "docs/reference/linux-node.md: .venv/bin/python -m pytest tests/nodes/test_linux.py "
    "tests/linux": "the tests themselves",
    "docs/reference/spdk-node.md: /opt/spdk/build/bin/nvmf_tgt -r /tmp/a.sock -m 0x1 & "
    "/opt/spdk/build/bin/nvmf_tgt -r /tmp/b.sock -m 0x2 &": HARDWARE,
}
BLOCKS = pages.blocks()
SHELL = [block for block in BLOCKS if block.language == "sh"]


def test_each_block_is_run_or_listed_with_a_reason() -> None:
    assert {block.name for block in SHELL if block.where not in RUN} == set(NOT_RUN)


def test_each_kind_of_block_has_a_test() -> None:
    for where, test in RUN.items():
        assert f'"{where}"' in (ROOT / test).read_text()
        assert pages.of(where)


def test_each_block_names_its_language() -> None:
    """A block without a language is no command but a file, a drawing, or output."""
    assert {block.language for block in BLOCKS} <= {"sh", "json", "toml", "ini", "mermaid", ""}
    commands = re.compile(
        r"^\s*(\$ |make |curl |python|sudo |export |docker |kubectl )", re.MULTILINE
    )
    assert [b.name for b in BLOCKS if not b.language and commands.search(b.text)] == []


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shell_blocks_are_well_formed(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shell_blocks_name_existing_commands_and_files(block: Block) -> None:
    known = {*get_commands(), "version"}
    asked = re.findall(r"(?:manage\.py|provisioner-manage) ([a-z_]+)", block.text)
    assert set(asked) <= known
    made = {"deploy/kubernetes/secret.yaml", "deploy/.env", "deploy/settings.env", "deploy/api"}
    for name in set(re.findall(r"(?<![\w/.~-])deploy/[\w./-]*\w", block.text)) - made:
        assert name.startswith("deploy/tls") or (ROOT / name).exists(), name


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_commands_in_containers_do_not_read_the_lines_after_them(block: Block) -> None:
    """Who pastes a block gives these lines to the terminal. A command in a container reads them
    unless it has an input of its own.
    """
    reads = re.compile(r"(\$compose|docker compose -f \S+) (exec|run)\b|kubectl\b.* exec -i")
    *lines, _ = block.text.replace("\\\n", " ").splitlines()
    assert [line for line in lines if reads.search(line) and "<" not in line] == []


def test_blocks_of_other_languages_are_valid() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "ini":
            configparser.ConfigParser(strict=False, interpolation=None).read_string(block.text)
