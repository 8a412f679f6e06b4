"""``manage.py license_key`` and ``license_issue``."""

import datetime as dt
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from pydantic import SecretStr

from inventory.services.licenses import LicenseTerms, license_read
from tests.api.licenses import believe

DEMO = django_settings.BASE_DIR / "deploy" / "demo-license-key.pem"


def issued(capsys, *arguments):
    call_command("license_issue", *map(str, arguments))
    [text] = capsys.readouterr().out.splitlines()
    return text


def test_a_licence_of_a_new_key_is_accepted(tmp_path, capsys, settings):
    file = tmp_path / "vendor.pem"
    call_command("license_key", str(file))
    believe(settings, capsys.readouterr().out.strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = issued(
        capsys,
        *("--type", "POC", "--expires", "2031-01-31", "--max-backends", 12, "--key", file),
    )
    expires = dt.datetime(2031, 1, 31, tzinfo=dt.UTC)
    assert license_read(text) == LicenseTerms(type="POC", expirationDate=expires, maxBackends=12)


def test_an_existing_key_file_is_never_overwritten(tmp_path):
    file = tmp_path / "vendor.pem"
    file.write_text("precious")
    with pytest.raises(CommandError, match="cannot write"):
        call_command("license_key", str(file))
    assert file.read_text() == "precious"


def test_the_demo_key_is_accepted_in_the_embedded_form(capsys, settings):
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"broker_url": SecretStr("memory://"), "license_public_key": ""}
    )
    text = issued(capsys, "--max-backends", 3, "--key", DEMO)
    assert license_read(text) == LicenseTerms(type="PRODUCTION", maxBackends=3)
    text = issued(capsys, "--key", DEMO)
    assert license_read(text) == LicenseTerms(type="PRODUCTION", maxBackends=None)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--max-backends", "0"], "maxBackends: "),
        (["--max-backends", "x"], "invalid int"),
        (["--max-backends", "1", "--expires", "soon"], "--expires"),
        (["--max-backends", "1", "--type", "GOLD"], "--type"),
    ],
)
def test_license_issue_refuses_wrong_arguments(capsys, arguments, complaint):
    with pytest.raises(CommandError, match=complaint):
        call_command("license_issue", "--key", str(DEMO), *arguments)
    assert capsys.readouterr().out == ""


def test_license_issue_refuses_a_file_without_an_ed25519_key(tmp_path):
    file = tmp_path / "key.pem"
    for content, complaint in [
        (b"no key", "cannot be read as a PEM key"),
        (
            generate_private_key(SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "contains no Ed25519 key",
        ),
    ]:
        file.write_bytes(content)
        with pytest.raises(CommandError, match=complaint):
            call_command("license_issue", "--max-backends", "1", "--key", str(file))
