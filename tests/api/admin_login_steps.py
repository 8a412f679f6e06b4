"""Logs in to the administration pages."""

from io import StringIO

import pytest
from django.core.management import call_command


def of_role(browser, *roles):
    """Return the browser of a user with these roles, who is created as by an operator."""
    name = "-".join(roles)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USER_PASSWORD", "a long password 9")
        call_command("user_create", name, *[f"--role={role}" for role in roles], stderr=StringIO())
    browser.logout()
    form = {"username": name, "password": "a long password 9"}
    return browser.post("/admin/login/?next=/admin/", form)
