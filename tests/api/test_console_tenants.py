"""A user who is bound to a tenant sees nothing of another tenant on any page of the console, and
changes nothing of it.
"""

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern

from events.models import Event
from inventory.models import Backend, Host
from provisioner.access.models import UserTenant
from provisioner.access.principals import Role
from provisioner.common.tenancy import ROWS
from provisioner.console.actions.all import ACTIONS
from tasks.models import Task, TaskState
from tests.api.action_steps import PASSWORD, address, state, user_of
from tests.api.admin_pages import make_rows, page
from tests.conftest import Api
from volumes.models import Orphan, Snapshot, Tenant, Volume, target_nqn

OURS, THEIRS = "acme", "zeta corporation"
THEIR_TENANT = "zeta-id"
SECRETS = (THEIRS, THEIR_TENANT, "database-1", "volume-1", "host-1", "compute-1", "orphan-1")
"""Names, uuids and aliases of the other tenant's objects; ids of tasks are added."""
ASKED = ("database-1", "volume-1", "zeta", "compute-1", "host-1")
SEEN = {200, 302, 403, 404}


@pytest.fixture
def world(db: None) -> tuple[str, ...]:
    """Create two tenants with one of each object, on the same nodes. Host 0 serves both. Returns
    the texts that users of the first tenant must not see.
    """
    Group.objects.bulk_create([Group(name=role) for role in Role], ignore_conflicts=True)
    make_rows(2)
    theirs = Tenant.objects.create(
        tenant_id=THEIR_TENANT, name=THEIRS, capacity_bytes=100, used_bytes=99
    )
    Host.objects.filter(pk="host-1").update(tenant_id=THEIR_TENANT)
    Orphan.objects.filter(uuid="orphan-1").update(tenant_id=THEIR_TENANT)
    volume = Volume.objects.get(uuid="volume-1")
    shared = volume.publications.create(host_id="host-0", state="READY")
    for replica in volume.replicas.all():
        replica.exports.create(
            publication=shared,
            target_nqn=target_nqn("host-0"),
            nsid=77,
            host_nqn="n",
            state="READY",
        )
    Volume.objects.filter(pk=volume.pk).update(tenant=theirs)
    Snapshot.objects.filter(volume=volume).update(tenant=theirs)
    for number, tenant in enumerate(("t1", THEIR_TENANT)):
        Task.objects.filter(volume_id=f"volume-{number}").update(
            tenant_id=tenant, host_id="host-0", state=TaskState.RUNNING, ended_at=None
        )
        Event.objects.create(
            kind="VolumeCreated",
            severity=20,
            text=f"made for {tenant}",
            actor_type=Event.Actor.CALLER,
            actor="somebody",
            tenant_id=tenant,
            subjects=["backend:aa:0", "host:host-0", f"volume:volume-{number}"],
            details={"placement": "secret of the pool"},
        )
    [task] = Task.objects.filter(tenant_id=THEIR_TENANT).values_list("pk", flat=True)
    return (*SECRETS, task, "secret of the pool")


def bound(role: str, tenant: str = "t1") -> Client:
    browser = user_of(role)
    user = get_user_model().objects.get(username=role)
    UserTenant.objects.create(user=user, tenant_id=tenant)
    return browser


def addresses() -> Iterator[str]:
    """Return the URL of each page of the console, and for each model those of a row of each
    tenant.
    """
    yield from ("/admin/", "/admin/overview/", "/admin/topology/", "/admin/topology/?node=aa%3A0")
    for word in ASKED:
        yield f"/admin/topology/?volume={word}"
        yield f"/admin/search/?s={word}"
    for app in {model._meta.app_label for model in admin.site._registry}:
        yield f"/admin/{app}/"
    for model, shown in admin.site._registry.items():
        rows = model._default_manager.order_by("pk").values_list("pk", flat=True)
        keys = [quote(key) for key in rows]
        # the first row is of one tenant, the last of the other
        keys = keys[:1] + keys[1:][-1:] if model._meta.label_lower in ROWS else keys[:1]
        for pattern in shown.get_urls():
            assert isinstance(pattern, URLPattern)
            path = re.sub(r"[\^$\\Z]", "", str(pattern.pattern))
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            if "<" not in path:
                yield base + path
            for key in keys if "<" in path else ():
                yield base + re.sub(r"<[^>]*>", str(key), path)
        for field in getattr(shown, "search_fields", ()) and ASKED:
            yield page(model, "changelist") + f"?q={field}"


def leaks(text: str, url: str, secrets: tuple[str, ...]) -> list[str]:
    """Return the texts on a page that must not be there. Words of its URL do not count."""
    asked = [word for word in ASKED if word in url] + [s for s in secrets if quote(s) in url]
    return [s for s in secrets if s in text and not any(s in a or a in s for a in asked)]


def test_no_page_shows_anything_of_another_tenant(world: tuple[str, ...]) -> None:
    browser, pages = bound("ADMIN"), list(addresses())
    assert len(pages) > 250
    for url in pages:
        browser.cookies.pop("messages", None)  # they repeat the texts of earlier URLs
        answer = browser.get(url)
        assert answer.status_code in SEEN, (url, answer.status_code)
        assert leaks(answer.text, url, world) == [], url


def test_the_same_pages_show_all_tenants_to_users_of_the_pool(world: tuple[str, ...]) -> None:
    """Otherwise the previous test could not fail."""
    browser = user_of("ADMIN")
    pages = [url for url in addresses() if re.search("[a-z]/$", url) and "?" not in url]
    texts = [browser.get(url).text for url in pages if re.search("/(change|[a-z]+/[a-z]+)/$", url)]
    assert [secret for secret in world if not any(secret in text for text in texts)] == []


def test_a_user_of_a_tenant_sees_its_own_objects(world: tuple[str, ...]) -> None:
    browser = bound("MONITOR")
    volume = Volume.objects.get(uuid="volume-0")
    shown = {
        "/admin/": "database-0",
        page(Volume, "changelist"): "database-0",
        page(Volume, "change", volume.pk): "made for t1",
        page(Host, "change", "host-0"): "database-0",
        page(Tenant, "change", "t1"): OURS,
        page(Event, "changelist"): "made for t1",
        "/admin/search/?s=database": "database-0",
    }
    for url, text in shown.items():
        assert text in browser.get(url).text, url
    for model in admin.site._registry:
        listed = browser.get(page(model, "changelist")).status_code
        assert listed == (200 if model._meta.label_lower in ROWS else 403), model


def test_pages_show_numbers_of_the_pool_only_to_its_users(world: tuple[str, ...]) -> None:
    node = Backend.objects.earliest("pk")
    numbers = {
        page(Backend, "changelist"): ("capacity used", "iops used", "bandwidth used"),
        page(Backend, "change", node.pk): ("capacity used", "iops used", "bandwidth used"),
        page(Host, "change", "host-0"): ("used namespace ids",),
        "/admin/topology/": ("reserved on",),
    }
    browsers = {True: user_of("ADMIN"), False: bound("MONITOR")}
    for url, texts in numbers.items():
        for sees_pool, browser in browsers.items():
            text = browser.get(url).text.lower()
            assert {word in text for word in texts} == {sees_pool}, (url, sees_pool)


def test_a_dry_run_shows_numbers_of_nodes_only_to_users_of_the_pool(world: tuple[str, ...]) -> None:
    create = next(action for action in ACTIONS if action.name == "create_volume")
    typed = {"alias": "x", "capacity": 10**6, "dry_run": 1, "idempotency_key": ""}
    typed |= {"tenantId": "t1"}
    for browser, sees_pool in ((user_of("ADMIN"), True), (bound("STORAGE"), False)):
        text = browser.post(address(create, None), typed).text
        assert "1000000 GiB are required" in text
        assert ("are free" in text) is sees_pool


def test_no_action_changes_anything_of_another_tenant(world: tuple[str, ...]) -> None:
    browser, before = bound("ADMIN"), state()
    typed = {"capacity": 1, "newCapacity": 900, "alias": "mine", "hostId": "host-1", "name": "x"}
    typed |= {"tenantId": THEIR_TENANT, "tenant": THEIR_TENANT, "password": PASSWORD}
    typed |= {"totalIOPS": 1, "totalBW": 1, "idempotency_key": ""}
    tried = 0
    for action in ACTIONS:
        rows = [None] if action.of_list else _theirs(action.model)
        for row in rows:
            answer = browser.post(address(action, row), typed)
            assert answer.status_code in SEEN, action.name
            assert leaks(answer.text, "".join(map(str, typed.values())), world) == [], action.name
            tried += 1
    assert tried > len(ACTIONS) / 2
    assert state() == before


def _theirs(model: Any) -> list[Any]:
    """The rows that users of the first tenant must not act on."""
    rows = model._default_manager.all()
    rule = ROWS.get(model._meta.label_lower)
    return list(rows.exclude(rule("t1")) if rule and model._meta.model_name != "backend" else rows)


def test_a_superuser_is_bound_to_no_tenant(browser: Client, world: tuple[str, ...]) -> None:
    UserTenant.objects.create(
        user=get_user_model().objects.get(username="root"), tenant_id=THEIR_TENANT
    )
    assert "database-0" in browser.get(page(Volume, "changelist")).text


def test_a_superuser_binds_users_on_their_pages(browser: Client, world: tuple[str, ...]) -> None:
    user_of("MONITOR")
    users = get_user_model().objects
    user, root = users.get(username="MONITOR"), users.get(username="root")

    def save(who: Any) -> Any:
        url = page(type(who), "change", who.pk)
        form = browser.get(url).context["adminform"].form
        typed = {k: v for k, v in form.initial.items() if v not in (None, False, "")}
        typed |= {"groups": [g.pk for g in who.groups.all()], "user_permissions": []}
        for name in ("date_joined", "last_login"):
            at = typed.pop(name, who.date_joined)
            typed |= {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"}
        typed |= {"binding-TOTAL_FORMS": 1, "binding-INITIAL_FORMS": 0}
        return browser.post(url, typed | {"binding-0-tenant_id": "t1", "binding-0-user": who.pk})

    assert save(user).status_code == 302
    assert UserTenant.objects.get().user_id == user.pk
    assert "A superuser sees the whole pool" in save(root).text
    assert not UserTenant.objects.filter(user=root).exists()


@pytest.mark.django_db(transaction=True)
def test_the_password_of_a_bound_user_reaches_only_its_tenant_over_the_api(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_PASSWORD", PASSWORD)
    for tenant in ("t1", "t2"):
        Tenant.objects.create(tenant_id=tenant, name=tenant)
    call_command("user_create", "tina", "--role=ADMIN", "--tenant=t1")
    basic = Api(api.url, "Basic " + base64.b64encode(f"tina:{PASSWORD}".encode()).decode())
    token = Api(api.url, f"Bearer {basic.post('/token').body['token']}")
    own = Api(api.url, f"Bearer {basic.post('/token', {'tenant': 't1'}).body['token']}")
    for caller in (basic, token, own):
        assert [row["tenantId"] for row in caller.get("/tenants").body] == ["t1"]
        assert caller.get("/t2/volumes").status == "TenantNotFound"
        assert caller.get("/metrics").http == 403
    assert basic.post("/token", {"tenant": "t2"}).http == 403
    for role in ("HOST", "NODE"):
        of_pool = {"roles": [role], role.lower(): "x"}
        assert basic.post("/token", of_pool).http == 403, "they would speak for all tenants"
