"""Users of the console, the pages that they see, and the forms that they send."""

import re
from typing import Any

from django.apps import apps
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from provisioner.console.actions.action import Action

PASSWORD = "a long password 9"


def user_of(*roles: str, enforce_csrf_checks: bool = False) -> Client:
    """Return the browser of a user with these roles."""
    users = get_user_model().objects
    user = users.filter(username="-".join(roles)).first()
    if user is None:
        user = users.create_user("-".join(roles), password=PASSWORD, is_staff=True)
        user.groups.set(Group.objects.filter(name__in=roles))
    browser = Client(enforce_csrf_checks, headers={"host": "localhost"})
    browser.defaults["wsgi.url_scheme"] = "https"
    browser.force_login(user)
    return browser


def address(action: Action, row: Any = None) -> str:
    """Return the URL of an action's page."""
    name = f"admin:{action.model._meta.app_label}_{action.model._meta.model_name}_{action.name}"
    return reverse(name, args=[] if row is None else [quote(row.pk)])


def object_page(action: Action, row: Any = None) -> str:
    """Return the page with the button of an action."""
    name = f"admin:{action.model._meta.app_label}_{action.model._meta.model_name}"
    return (
        reverse(f"{name}_changelist")
        if row is None
        else reverse(f"{name}_change", args=[quote(row.pk)])
    )


def key_of(text: str) -> str:
    """Return the idempotency key in a form. If the form is sent again, it has the same key."""
    found = re.search(r'name="idempotency_key" value="([0-9a-f]+)"', text)
    assert found, text
    return found[1]


def state() -> dict[str, list[dict[str, Any]]]:
    """Return all rows of our apps."""
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values())
        for app in ("provisioner", "inventory", "tasks", "volumes")
        for model in apps.get_app_config(app).get_models()
    }
