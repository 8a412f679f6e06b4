"""Who may see the administration pages, and who may revoke tokens there."""

import datetime as dt

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model

from provisioner.access.models import RevokedToken
from provisioner.access.principals import Role
from provisioner.access.tokens import TokenRefused, token_identify, token_issue, token_verify
from tests.api.admin_login_steps import of_role
from tests.api.admin_pages import MODELS, make_rows, page
from volumes.models import Volume


@pytest.mark.parametrize("role", ["MONITOR", "ADMIN"])
def test_a_user_who_may_read_the_api_may_read_the_pages(browser, role):
    make_rows(1)
    assert of_role(browser, role).status_code == 302
    for model in MODELS:
        assert browser.get(page(model, "changelist")).status_code == 200, model
        row = model._default_manager.all()[0]
        assert browser.get(page(model, "change", quote(row.pk))).status_code == 200, model
        assert browser.post(page(model, "change", quote(row.pk)), {}).status_code == 403, model
        assert browser.post(page(model, "delete", quote(row.pk)), {}).status_code == 403, model
        if model is not RevokedToken:
            assert browser.get(page(model, "add")).status_code == 403, model
    assert browser.get("/admin/auth/user/").status_code == 403
    assert browser.get("/admin/auth/group/").status_code == 403


@pytest.mark.parametrize("role", ["STORAGE", "HOST", "NODE"])
def test_other_users_cannot_read_the_pages(browser, role):
    assert of_role(browser, role).status_code == 200, "the form again"
    assert browser.get(page(Volume, "changelist")).status_code == 302


def test_a_deactivated_user_is_logged_out(browser):
    of_role(browser, "MONITOR")
    get_user_model().objects.filter(username="MONITOR").update(is_active=False)
    assert browser.get(page(Volume, "changelist")).status_code == 302


@pytest.mark.parametrize("by", ["token", "id"])
def test_an_admin_revokes_a_token_or_its_id_on_the_pages(browser, by):
    of_role(browser, "ADMIN")
    token, expires_at = token_issue(name="x", roles=[Role.ADMIN], lifetime=dt.timedelta(hours=1))
    token_id, _ = token_identify(token)
    shown = browser.get(page(RevokedToken, "add")).text
    assert "Each process refuses it within 5 s" in shown
    typed = token if by == "token" else token_id
    answer = browser.post(page(RevokedToken, "add"), {"token": f" {typed} "}, follow=True)
    assert token_id in answer.text
    assert token not in answer.text
    [row] = RevokedToken.objects.all()
    assert row.token_id == token_id
    assert (row.expires_at == expires_at) == (by == "token")
    with pytest.raises(TokenRefused, match="revoked"):
        token_verify(token)


@pytest.mark.parametrize("typed", ["", "a.b.c", "an id with spaces", "x" * 65])
def test_a_text_that_is_no_token_is_refused_and_not_repeated(browser, typed):
    text = browser.post(page(RevokedToken, "add"), {"token": typed}).text
    assert "errorlist" in text
    assert not typed or f'value="{typed}"' not in text
    assert not RevokedToken.objects.exists()


def test_monitor_cannot_revoke_tokens(browser):
    of_role(browser, "MONITOR")
    assert browser.get(page(RevokedToken, "add")).status_code == 403
    assert browser.post(page(RevokedToken, "add"), {"token": "x"}).status_code == 403
