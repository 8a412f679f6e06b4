"""Hosts that serve all tenants: what callers bound to one tenant can change and see."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from inventory.models import Host
from inventory.views.hosts import LONGEST_DURATION
from tests.api.publications_steps import silent
from tests.api.released_clients import AGENT
from tests.api.tenants_steps import BUDGET
from tests.api.volume_steps import HOST, created, probe_host, published
from tests.conftest import Api
from volumes.models import Export

pytestmark = pytest.mark.django_db(transaction=True)
Pool = Callable[[int], list[str]]
TENANTS = ("t1", "t2")
DRIVER = "cinder-driver-0.1"


@pytest.fixture
def tenants(api: Api, pool: Pool) -> None:
    pool(2)
    for tenant in TENANTS:
        assert api.post("/tenants", BUDGET | {"tenantId": tenant, "name": tenant}).status == (
            "Success"
        )


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("version", ["3", DRIVER])
def test_a_tenants_caller_cannot_speak_for_the_agent_of_a_shared_host(
    api: Api, version: str
) -> None:
    """Otherwise nobody heals other tenants' volumes, and no namespace id is left for them."""
    probe_host(api, version=DRIVER)
    theirs = created(api, "theirs", "/t2/volumes")
    ours = api.as_role("STORAGE", tenant="t1")
    probe_host(ours, version=version, usedNamespacesIds=list(range(1, 4097)))
    host = Host.objects.get()
    assert (host.has_agent, host.used_namespace_ids) == (False, [])
    published(api, theirs)


@pytest.mark.usefixtures("tenants")
def test_a_tenants_caller_changes_only_the_name_of_a_shared_host_with_an_agent(api: Api) -> None:
    host = api.as_role("HOST", host=HOST)
    probe_host(host, HOST, **AGENT, usedNamespacesIds=[7])
    before: dict[str, Any] = dict(Host.objects.values().get())
    ours = api.as_role("STORAGE", tenant="t1")
    report: dict[str, Any] = {"version": "3", "clientType": "Kubernetes", "multipath": True}
    probe_host(ours, name="new", duration=80_000, usedNamespacesIds=[8], **report)
    after: dict[str, Any] = dict(Host.objects.values().get())
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"name", "last_probe_at"}


@pytest.mark.usefixtures("tenants")
def test_the_token_of_a_shared_host_reports_it_completely(api: Api) -> None:
    probe_host(api, version=DRIVER)
    own = api.as_role("HOST", tenant="t1", host=HOST)
    probe_host(own, HOST, **AGENT, usedNamespacesIds=[7])
    host = Host.objects.get()
    assert (host.has_agent, host.used_namespace_ids, host.tenant_id) == (True, [7], "")


@pytest.mark.usefixtures("tenants")
def test_a_tenants_caller_reports_a_host_of_its_tenant_completely(api: Api) -> None:
    ours = api.as_role("STORAGE", tenant="t1")
    for ids in ([7], [8]):
        probe_host(ours, HOST, **AGENT, usedNamespacesIds=ids)
        host = Host.objects.get()
        assert (host.has_agent, host.used_namespace_ids, host.tenant_id) == (True, ids, "t1")


@pytest.mark.usefixtures("tenants")
def test_a_tenants_caller_sees_only_namespace_ids_of_its_own_volumes(api: Api) -> None:
    probe_host(api.as_role("HOST", host=HOST), HOST, **AGENT, usedNamespacesIds=[4000])
    ids: dict[str, int] = {}
    for tenant in TENANTS:
        published(api, created(api, "v", f"/{tenant}/volumes"))
        [ids[tenant]] = set(Export.objects.values_list("nsid", flat=True)) - {*ids.values()}
    for tenant, own in ids.items():
        [shown] = api.as_role("STORAGE", tenant=tenant).get("/hosts").body
        assert shown["usedNamespacesIds"] == [own]
    [shown] = api.get("/hosts").body
    assert shown["usedNamespacesIds"] == sorted([*ids.values(), 4000])


@pytest.mark.usefixtures("tenants")
def test_a_tenants_caller_sees_all_namespace_ids_that_a_host_of_its_tenant_reports(
    api: Api,
) -> None:
    ours = api.as_role("STORAGE", tenant="t1")
    probe_host(ours, HOST, **AGENT, usedNamespacesIds=[4000])
    [shown] = ours.get("/hosts").body
    assert shown["usedNamespacesIds"] == [4000]


@pytest.mark.usefixtures("tenants")
def test_a_host_that_took_the_nqn_of_another_keeps_it_for_three_days_at_most(api: Api) -> None:
    """A tenant's caller may take the NQN of a host that has never probed."""
    ours = api.as_role("STORAGE", tenant="t1")
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
    probe_host(ours, "taker", hostNqn=nqn, duration=LONGEST_DURATION)
    taker = Host.objects.get()
    assert taker.available_until - taker.last_probe_at == dt.timedelta(days=3)
    real = {"hostId": HOST, "hostNqn": nqn, "name": "real", "duration": 30} | AGENT
    own = api.as_role("HOST", host=HOST)
    refused = own.post("/host_probe", real)
    assert refused.status == "AlreadyExists"
    assert "give one of them another NQN" in refused.description
    silent(taker)
    assert own.post("/host_probe", real).status == "Success"
    assert [host.pk for host in Host.objects.all()] == [HOST]


@pytest.mark.usefixtures("tenants")
def test_an_administrator_takes_an_nqn_from_an_available_host(api: Api) -> None:
    ours = api.as_role("STORAGE", tenant="t1")
    nqn = f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"
    probe_host(ours, "taker", hostNqn=nqn)
    probe_host(api, "taker", hostNqn="nqn.2014-08.org.nvmexpress:uuid:none")
    probe_host(api.as_role("HOST", host=HOST), HOST, **AGENT)
    again = ours.post(
        "/host_probe",
        {"hostId": "taker", "hostNqn": nqn, "name": "x"}
        | {"duration": 30, "clientType": "Agent", "version": "3"},
    )
    assert again.status == "AlreadyExists"
