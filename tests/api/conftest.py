"""Fixtures: local users, and helpers of the tests of syslog."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

from provisioner.access import login_attempts
from tests.api.inventory_steps import worker  # noqa: F401
from tests.api.poller_steps import plain_server, poller  # noqa: F401
from tests.api.syslog_steps import configured, receiver, rsyslog, work  # noqa: F401
from tests.api.wire import ADMIN, basic
from tests.oidc.fixtures import (  # noqa: F401
    _running_real_server,
    admin,
    local_mode,
    real_server,
    token_server,
)


@pytest.fixture(autouse=True)
def _no_failed_logins():
    """Delete the counts of failed logins of other tests."""
    login_attempts._own._counts.clear()
    if shared := login_attempts._shared():
        for key in shared._redis.scan_iter(f"{login_attempts.PREFIX}*"):
            shared._redis.delete(key)


@pytest.fixture
def make_user(base_rows):
    """Creates a local user with roles; returns the Authorization header."""

    def make(name, password, *roles, **fields):
        user = get_user_model().objects.create_user(name, password=password, **fields)
        user.groups.set(Group.objects.filter(name__in=roles))
        return basic(name, password)

    return make


@pytest.fixture
def admin_header(make_user):
    return make_user(*ADMIN, "ADMIN")


@pytest.fixture
def browser(db):
    """A superuser's browser on the administration pages."""
    client = Client(headers={"host": "localhost"})
    client.defaults["wsgi.url_scheme"] = "https"
    client.force_login(get_user_model().objects.create_superuser("root", password="pw"))
    return client
