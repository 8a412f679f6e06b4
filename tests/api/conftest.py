"""Local users for the tests of who may call."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from tests.api.wire import ADMIN, basic


@pytest.fixture
def make_user(base_rows):
    """Makes a local user with roles; answers its Authorization header."""

    def make(name, password, *roles, **fields):
        user = get_user_model().objects.create_user(name, password=password, **fields)
        user.groups.set(Group.objects.filter(name__in=roles))
        return basic(name, password)

    return make


@pytest.fixture
def admin_header(make_user):
    return make_user(*ADMIN, "ADMIN")
