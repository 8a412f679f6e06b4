"""Probes, received by a real HTTPS server."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty

import pytest

from inventory.nodes.agent import prober
from inventory.nodes.agent.agent import Agent, Identity
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.probe_sender import ProbeSender
from inventory.nodes.agent.prober import Prober
from inventory.nodes.client import NodeClient
from inventory.nodes.engines.simulated import SimulatedFleet, SimulatedNode
from inventory.nodes.engines.simulated.faults import Faults
from inventory.nodes.probes import Changes
from inventory.nodes.syslogs import SyslogServer
from inventory.nodes.wire import Portal, ProvisionerSettings, Tag
from tests.nodes.certificates import TOKEN, KeyPair, TestCa
from tests.nodes.servers import ProbeReceiver
from tests.nodes.specs import GIB, piece, volume


@pytest.fixture
def receiver(server_pair: KeyPair) -> Iterator[ProbeReceiver]:
    receiver = ProbeReceiver(server_pair)
    yield receiver
    receiver.close()


@pytest.fixture
def settings(receiver: ProbeReceiver, ca: TestCa) -> ProvisionerSettings:
    return ProvisionerSettings(
        name="pool",
        url=receiver.url,
        push_interval=3600,
        in_use=True,
        tags=(Tag(name="rack", value="r1"),),
        token="node-token",
        ca_certificate=ca.file.read_text(),
    )


def test_a_probe_reports_the_state_of_the_node(
    client: NodeClient,
    node: SimulatedNode,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
    ssds: list[str],
) -> None:
    client.ensure_volume("v", volume(piece(ssds[0])))
    client.put_provisioner(settings)
    call, probe = receiver.probes.get(timeout=5)
    assert call == "/probe Bearer node-token"
    assert abs(probe.pop("sentAt") / 1000 - time.time()) < 30
    assert probe == {
        "persistentID": node.persistent_id,
        "availableCapacity": 4 * 1024 * GIB - GIB,
        "totalCapacity": 4 * 1024 * GIB,
        "usedBW": 0,
        "totalBW": 4525654016,
        "usedIOPS": 0,
        "totalIOPS": 348600,
        "mgmtIPs": ["127.0.0.1"],
        "mgmtPort": node.port,
        "provisioner": {
            "name": "pool",
            "url": receiver.url,
            "pushInterval": 3600,
            "inUse": True,
            "tags": [{"name": "rack", "value": "r1"}],
        },
        "version": "3.22.1",
        "numberOfSSDs": 4,
        "certified": True,
        "targetDriverVersion": "3.22.1",
        "changes": 0,
        "authenticationMode": "LOCAL",
        "bootId": client.read_node().boot_id,
        "newestGeneration": client.read_node().newest_generation,
    }


def test_a_probe_has_the_time_of_the_node(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    node.faults.put(Faults(clock_ahead_seconds=3600))
    client.put_provisioner(settings)
    assert receiver.next()["sentAt"] / 1000 - time.time() > 3000


def test_a_change_is_reported_at_once_and_only_once(
    client: NodeClient,
    node: SimulatedNode,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
) -> None:
    client.put_provisioner(settings)
    assert receiver.next()["changes"] == 0
    node.change(portals=(Portal(ip="10.0.0.1", port=4420),))
    assert receiver.next()["changes"] == Changes.PORTALS
    server = SyslogServer(id=1, name="log", url="u", state=True, use_tls=False)
    node.set_syslogs([server])
    assert receiver.next()["changes"] == Changes.SYSLOGS
    node.set_syslogs([server])
    ssd = node.engine.ssds[0]
    node.change(ssds=(ssd,))
    probe = receiver.next()
    assert (probe["changes"], probe["numberOfSSDs"]) == (0, 1)
    node.restart()
    assert receiver.next()["bootId"] != probe["bootId"]
    assert receiver.probes.empty()


def test_probes_follow_the_push_interval_with_jitter(
    client: NodeClient, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    client.put_provisioner(settings.model_copy(update={"push_interval": 1}))
    receiver.next()
    began = time.monotonic()
    receiver.next()
    assert time.monotonic() - began > 0.75


def test_the_settings_of_a_reply_are_applied(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    told = {"inUse": False, "pushInterval": 7200, "tags": [{"name": "zone", "value": "z"}]}
    receiver.reply["provisioner"] = told | {"url": "https://elsewhere"}
    client.put_provisioner(settings)
    receiver.next()
    node.restart()
    shown = receiver.next()["provisioner"]
    assert {key: shown[key] for key in told} == told
    assert shown["url"] == receiver.url


def test_a_failed_probe_is_retried_with_its_changes(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    receiver.reply["status"] = "NotExists"
    client.put_provisioner(settings)
    receiver.next()
    node.change(portals=())
    assert receiver.next()["changes"] == Changes.PORTALS
    receiver.reply["status"] = "Success"
    assert receiver.next()["changes"] == Changes.PORTALS
    node.wake_prober()
    assert receiver.next()["changes"] == 0


def test_dropped_probes_keep_their_changes(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    node.faults.drop_probes()
    client.put_provisioner(settings)
    node.change(portals=())
    with pytest.raises(Empty):
        receiver.next(0.2)
    node.faults.drop_probes(False)
    assert receiver.next()["changes"] == Changes.PORTALS


@pytest.mark.parametrize(
    "change",
    [
        {"ca_certificate": "not a certificate"},
        {"url": "http://x"},
        {"url": "https://"},
        {"token": "a\r\nb"},
    ],
)
def test_bad_settings_do_not_stop_the_prober(
    client: NodeClient,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
    change: dict[str, str],
) -> None:
    client.put_provisioner(settings.model_copy(update=change))
    client.put_provisioner(settings)
    receiver.next()


def test_an_untrusted_provisioner_gets_no_token(
    client: NodeClient, receiver: ProbeReceiver, settings: ProvisionerSettings, tmp_path: Path
) -> None:
    stranger = TestCa(tmp_path / "other").file.read_text()
    client.put_provisioner(settings.model_copy(update={"ca_certificate": stranger}))
    with pytest.raises(Empty):
        receiver.next(0.2)


def test_a_restarted_process_continues_to_probe(
    server_pair: KeyPair,
    store: Path,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
    make_client: Callable[[SimulatedNode], NodeClient],
) -> None:
    boots: list[str] = []
    for _ in range(2):
        with SimulatedFleet(
            1,
            certificate=server_pair.certificate,
            key=server_pair.key,
            token=TOKEN,
            store=store,
        ) as fleet:
            if not boots:
                make_client(fleet.nodes[0]).put_provisioner(settings)
            boots.append(receiver.next()["bootId"])
    assert len(set(boots)) == 2


def test_a_prober_that_is_woken_while_it_is_cancelled_ends(
    client: NodeClient, node: SimulatedNode, receiver: ProbeReceiver, settings: ProvisionerSettings
) -> None:
    """Otherwise an agent that is stopped during a start of its engine does not end."""
    client.put_provisioner(settings)
    receiver.probes.get(timeout=5)

    async def is_ended() -> bool:
        sender = ProbeSender()
        probing = Prober(node.agent, sender)
        running = asyncio.create_task(probing.run())
        while receiver.probes.empty():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # it has the answer, and waits for the next probe
        probing.wake()
        running.cancel()
        ended, _ = await asyncio.wait([running], timeout=5)
        running.cancel()
        sender.close()
        return bool(ended)

    assert node.run(is_ended())


def test_settings_that_cannot_be_read_do_not_stop_the_prober(
    node: SimulatedNode,
    receiver: ProbeReceiver,
    settings: ProvisionerSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prober, "RETRY_SECONDS", 0.01)

    async def send() -> None:
        sender, database = ProbeSender(), Database()
        agent = Agent(Identity("n", "n", (), 1), node.agent.engine, database)
        await agent.start()
        agent.put_provisioner(settings)
        database.execute("ALTER TABLE setting RENAME TO hidden")
        running = asyncio.create_task(Prober(agent, sender).run())
        await asyncio.sleep(0.1)
        assert receiver.probes.empty()
        database.execute("ALTER TABLE hidden RENAME TO setting")
        await asyncio.to_thread(receiver.next)
        running.cancel()
        await asyncio.wait([running])
        sender.close()

    asyncio.run(send())
