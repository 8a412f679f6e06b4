"""``manage.py user_create`` and the groups of the roles."""

import io

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from provisioner.access.local_users import user_verify
from provisioner.access.principals import Caller, Role

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery"


@pytest.fixture
def create(monkeypatch):
    def create(*arguments, stdin=f"{PASSWORD}\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        call_command("user_create", *arguments)

    return create


def test_user_create_creates_a_user_with_roles(create):
    create("op", "--role", "STORAGE", "--role", "MONITOR")
    caller = Caller("op", frozenset({Role.STORAGE, Role.MONITOR}), user="op")
    assert user_verify("op", PASSWORD) == caller
    assert user_verify("op", f"{PASSWORD}\n") is None


def test_a_password_in_the_environment_takes_precedence_over_stdin(create, monkeypatch):
    monkeypatch.setenv("USER_PASSWORD", "from the environment")
    create("op", "--role", "ADMIN")
    assert user_verify("op", "from the environment") == Caller(
        "op", frozenset({Role.ADMIN}), user="op"
    )


@pytest.mark.parametrize("stdin", ["", "\n", "short\n", "password123\n"])
def test_user_create_refuses_a_weak_password(create, stdin):
    with pytest.raises(CommandError, match="password"):
        create("op", "--role", "ADMIN", stdin=stdin)


@pytest.mark.parametrize("arguments", [["op"], ["op", "--role", "X"], ["a b", "--role", "ADMIN"]])
def test_user_create_refuses_wrong_arguments(create, arguments):
    with pytest.raises(CommandError):
        create(*arguments)


def test_user_create_binds_the_user_to_a_tenant(create):
    create("op", "--role", "ADMIN", "--tenant", "t1")
    assert user_verify("op", PASSWORD) == Caller(
        "op", frozenset({Role.ADMIN}), tenant_id="t1", user="op"
    )


def test_user_create_refuses_an_empty_tenant(create):
    """It would create a user of the whole pool."""
    with pytest.raises(CommandError, match="--tenant must not be empty"):
        create("op", "--role", "ADMIN", "--tenant", "")
    assert user_verify("op", PASSWORD) is None


def test_user_create_refuses_a_taken_name(create):
    create("op", "--role", "ADMIN")
    with pytest.raises(CommandError, match="A user op already"):
        create("op", "--role", "MONITOR", stdin="another good one\n")
    assert user_verify("op", PASSWORD) == Caller("op", frozenset({Role.ADMIN}), user="op")


@pytest.mark.django_db(transaction=False)
def test_the_migration_makes_a_group_for_each_role():
    from importlib import import_module

    from django.apps import apps

    migration = import_module("provisioner.migrations.0001_role_groups")
    for _ in range(2):
        migration.make_groups(apps, None)
    assert set(Group.objects.values_list("name", flat=True)) == set(Role)
