"""The sidebar of the console. It lists the pages of the administration in groups."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

Permission = Callable[[HttpRequest], bool]

GROUPS: dict[str, list[tuple[str, str, str]]] = {
    "Storage": [
        ("Nodes", "inventory.backend", "dns"),
        ("Drives", "inventory.ssd", "hard_drive"),
        ("Volumes", "volumes.volume", "database"),
        ("Snapshots", "volumes.snapshot", "photo_camera"),
    ],
    "Clients": [
        ("Hosts", "inventory.host", "computer"),
        ("Tenants", "volumes.tenant", "apartment"),
    ],
    "Activity": [
        ("Events", "events.event", "history"),
        ("Tasks", "tasks.task", "checklist"),
        ("Drains", "volumes.drain", "output"),
        ("Orphans", "volumes.orphan", "help_center"),
    ],
    "Access": [
        ("Users", "auth.user", "person"),
        ("Roles", "auth.group", "group"),
        ("Authorization server", "provisioner.authorizationserver", "shield_lock"),
        ("Revoked tokens", "provisioner.revokedtoken", "key_off"),
        ("Licence", "inventory.license", "license"),
    ],
    "Internals": [
        ("Replicas", "volumes.replica", "file_copy"),
        ("Sub-volumes", "volumes.subvolume", "segment"),
        ("Publications", "volumes.publication", "share"),
        ("Exports", "volumes.export", "upload"),
        ("Namespace ids", "volumes.namespaceid", "tag"),
        ("Relocations", "volumes.replicarelocation", "move_up"),
        ("Portals", "inventory.portal", "lan"),
        ("Management addresses", "inventory.backendaddress", "settings_ethernet"),
        ("Released controller ids", "inventory.releasedslot", "recycling"),
        ("Inventory samples", "inventory.inventorysample", "inventory"),
        ("Job runs", "tasks.jobrun", "schedule"),
        ("Job leases", "volumes.joblease", "lock_clock"),
        ("Syslog servers", "inventory.syslogserver", "terminal"),
        ("Syslog records", "inventory.syslogrecord", "receipt_long"),
        ("Syslog source", "inventory.syslogsource", "source"),
        ("Pool", "inventory.pool", "fingerprint"),
        ("Recoveries", "inventory.recovery", "restore"),
    ],
}
"""For each group, the title, the model and the icon of its lists."""


def pages(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar in the form that unfold expects. Pages that the user may not see are
    omitted.
    """
    top = [{"title": "Overview", "icon": "space_dashboard", "link": reverse("admin:index")}]
    if request.user.has_perm("inventory.view_backend"):
        top.append({"title": "Topology", "icon": "schema", "link": reverse("admin:topology")})
    groups = [
        {"title": title, "items": _items(request, lists), "collapsible": title == "Internals"}
        for title, lists in GROUPS.items()
    ]
    return [{"items": top}, *(group for group in groups if group["items"])]


def _items(request: HttpRequest, lists: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": _list_of(model)}
        for title, model, icon in lists
        if request.user.has_perm(model.replace(".", ".view_"))
    ]


def _list_of(model: str) -> str:
    return reverse(f"admin:{model.replace('.', '_')}_changelist")
