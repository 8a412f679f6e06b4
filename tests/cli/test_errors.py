"""An error is one sentence and an exit code. Requests that are safe to repeat are repeated."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioner.certificates import Authority
from provisioner.common.results import ResultCode
from provisionerctl.errors import CODES, MEANINGS, OF_CODES, Exit
from tests.api.volume_steps import HOST, created, probe_host
from tests.cli.conftest import Run, process
from tests.cli.relay import Relay, SameAnswer, running
from tests.conftest import Api
from tests.servers import free_port

live = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]


def test_each_mapped_result_code_exists_and_has_one_exit_code() -> None:
    codes = [code for codes in CODES.values() for code in codes.split()]
    assert set(codes) <= set(ResultCode)
    assert len(set(codes)) == len(codes)
    assert set(MEANINGS) == set(Exit)


def test_each_other_result_code_is_listed_here() -> None:
    """A new result code must get an exit code, or be in this list."""
    assert set(ResultCode) - set(OF_CODES) == {
        *("Success", "NoGroups", "BackendHasVolumes", "InvalidLicense", "HostAvailable"),
        *("TenantHasVolumes", "VolumeIsInUse", "NotReplicated", "Replicated"),
        *("ReplicaTerminating", "NotInUse", "AllReplicasDown", "NotEnoughReplicas"),
        *("VolumePublishedToMultipleHosts", "VolumeNotInHost", "UpdateTaskFailed", "OngoingTask"),
        *("TaskBelongsToOtherHost", "InvalidAuthMode", "MethodNotAllowed", "Conflict"),
        *("PayloadTooLarge", "UnsupportedMediaType", "InternalError"),
        *(code for code in ResultCode if code.startswith(("Create", "Decrypt"))),
        *("ProvisionerClientUnauthorized", "BackendsClientUnauthorized"),
    }


@live
def test_each_class_of_errors_has_its_exit_code(
    connected: dict[str, str], run: Run, api: Api, pool: Pool
) -> None:
    [node] = pool(1)
    created(api, "first", uuid="u1")
    probe_host(api)
    run("publish", "first", HOST)
    cases = {
        "volumes delete first --yes": (1, "Error: VolumeIsInUse: "),
        "volumes create bad/alias 10": (2, "Error: InvalidInput: alias = 'bad/alias'"),
        "volumes create v 1.5GB": (2, "Usage: "),
        "expand first 10": (2, "Error: InvalidSize: "),
        "volumes show none": (3, "Error: There is no volume 'none'."),
        "nodes show none": (3, "Error: There is no node 'none'."),
        "tasks show none": (3, "Error: There is no task 'none'."),
        "unpublish u1 other": (3, "Error: There is no host 'other'."),
        "publish u1 " + HOST: (4, "Error: AlreadyPublished: "),
        "volumes create first 10": (4, "Error: AlreadyExists: "),
        "nodes --token bad": (5, "Error: Unauthorized: "),
        "volumes create v 10 --rack none": (7, "Error: NoMatchingBackend: "),
        f"nodes remove {node}": (9, "Error: Remove node "),
    }
    found = {line: run(*line.split()) for line in cases}
    assert {line: ran.code for line, ran in found.items()} == {
        line: code for line, (code, _) in cases.items()
    }
    assert [line for line, (_, text) in cases.items() if not found[line].err.startswith(text)] == []


@live
def test_fields_that_an_older_server_does_not_know_are_named(
    connected: dict[str, str], run: Run
) -> None:
    ran = run("api", "GET", "/volumes", "-q", "newer=1")
    assert ran.code == 0
    assert run("api", "PUT", "/tenants/0", "-d", '{"newer": 1}').code == 2
    body = '{"hostId": "h", "hostNqn": "nqn.2014-08.org.nvmexpress:uuid:h", "name": "h", '
    body += '"clientType": "Agent", "version": "1", "duration": 30, "newer": 1}'
    ran = run("api", "POST", "/host_probe", "-d", body)
    assert (ran.code, ran.err) == (0, "The API ignored unknown fields: newer\n")


@live
def test_programs_get_the_answer_of_a_refusal(connected: dict[str, str], run: Run) -> None:
    ran = run("volumes", "delete", "none", "--yes", "-o", "json")
    assert (ran.code, ran.out) == (3, "")
    ran = run("api", "DELETE", "/volumes/none", "-o", "json")
    assert (ran.code, json.loads(ran.out)["status"]) == (3, "NotExists")


def test_an_unreachable_server_is_one_sentence_with_exit_code_6(
    environment: dict[str, str],
) -> None:
    done = process(environment, "nodes", "--url", f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (6, "")
    assert "cannot be reached: " in done.stderr
    assert "Connection refused" in done.stderr


def test_a_server_that_is_no_provisioner_causes_no_traceback(environment: dict[str, str]) -> None:
    with running(SameAnswer(b'[{"something": "else"}]')) as other:
        done = process(environment, "nodes", "--url", other.url)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "PROVISIONERCTL_DEBUG=1 shows the traceback" in done.stderr
    assert "Traceback" not in done.stderr


def test_certificates_are_checked_on_both_sides(
    environment: dict[str, str], authority: Authority, tmp_path: Path
) -> None:
    """Server and client present certificates. A wrong certificate is reported by one sentence."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("api", ["127.0.0.1"]))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    other = Authority.of(tmp_path / "other")
    mine = ("--certificate", str(authority.client("olga")))

    def nodes(*options: str) -> tuple[int, str]:
        done = process(environment, "nodes", *options)
        return done.returncode, done.stdout + done.stderr

    with running(SameAnswer(b"[]", context)) as api:
        right = ("--url", api.url, "--ca", str(authority.path))
        assert nodes(*right, *mine) == (0, "None found.\n")
        assert nodes("--url", api.url, "--insecure", *mine) == (0, "None found.\n")
        code, said = nodes(*right)
        assert (code, "--certificate" in said) == (6, True), said
        code, said = nodes("--url", api.url, "--ca", str(other.path), *mine)
        assert (code, "certificate verify failed" in said) == (6, True), said


@pytest.fixture
def lossy(
    api: Api, pool: Pool, connected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Relay]:
    pool(1)
    monkeypatch.setattr("provisionerctl.transport.PAUSES", (0.0, 0.0))
    with running(Relay(api.url)) as server:
        monkeypatch.setenv("PROVISIONERCTL_URL", server.url)
        yield server


@live
def test_a_create_whose_answer_is_lost_is_repeated_with_its_key(
    lossy: Relay, run: Run, api: Api
) -> None:
    lossy.lose = 2
    ran = run("volumes", "create", "first", "10")
    assert ran.code == 0, ran
    [row] = api.get("/volumes").body
    assert row["uuid"] in ran.out
    [(_, key)] = set(lossy.seen)
    assert key
    lossy.lose = 1
    assert run("expand", "first", "20").code == 0
    lossy.lose = 1
    assert run("volumes", "delete", row["uuid"], "--yes").code == 0


@live
def test_a_deletion_whose_answer_is_lost_has_succeeded(lossy: Relay, run: Run, api: Api) -> None:
    created(api, "first", uuid="u1")
    lossy.lose = 1
    assert run("api", "DELETE", "/volumes/u1").code == 0
    assert run("api", "DELETE", "/volumes/u1").code == 3
    assert api.get("/volumes").body == []


@live
def test_a_lost_answer_of_an_unrepeatable_call_is_reported(
    lossy: Relay, run: Run, api: Api
) -> None:
    lossy.lose = 1
    ran = run("tenants", "create", "Acme")
    assert ran.code == 6
    assert "may have been carried out: check the state before you repeat it" in ran.err
    assert len(lossy.seen) == 1
    assert [row["name"] for row in api.get("/tenants").body].count("Acme") == 1


@live
def test_a_command_can_be_repeated_with_its_idempotency_key(
    lossy: Relay, run: Run, api: Api
) -> None:
    lossy.lose = 3
    ran = run("volumes", "create", "first", "10")
    assert ran.code == 6
    key = ran.err.split("--idempotency-key ")[1].split()[0]
    assert run("volumes", "create", "first", "10").code == 4
    assert run("volumes", "create", "first", "10", "--idempotency-key", key).code == 0
    assert len(api.get("/volumes").body) == 1


@live
def test_a_call_is_repeated_while_the_server_is_busy(lossy: Relay, run: Run) -> None:
    lossy.busy = 2
    assert run("nodes").code == 0
    lossy.busy = 3
    ran = run("nodes")
    assert ran.code == 6
    assert ran.err.startswith("Error: ServiceUnavailable: ")
