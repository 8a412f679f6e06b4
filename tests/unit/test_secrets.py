"""Encryption of secrets at rest."""

import pytest
from pydantic import SecretStr

from provisioner.access.secrets import UnreadableSecret, decrypt, encrypt

TEXTS = ["", "x", "s3cret", "pä:ss\n\0", "x" * 10_000]


@pytest.fixture
def keys(settings):
    def use(*keys):
        settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
            update={"data_keys": tuple(SecretStr(key * 40) for key in keys)}
        )

    return use


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_is_unreadable_in_storage_and_decrypts_to_itself(text):
    stored = encrypt(text)
    assert stored.isascii()
    assert len(text) < 4 or text not in stored
    assert encrypt(text) != stored, "equal secrets cannot be told to be equal"
    assert decrypt(stored) == text


def test_secrets_are_readable_with_each_configured_key(keys):
    by_default = encrypt("secret")
    keys("a")
    old = encrypt("secret")
    keys("b", "a")
    assert decrypt(old) == "secret"
    new = encrypt("secret")
    keys("b")  # the first encrypted it
    assert decrypt(new) == "secret"
    for stored in (old, by_default):
        with pytest.raises(UnreadableSecret, match="DATA_KEYS"):
            decrypt(stored)


@pytest.mark.parametrize("stored", ["", "secret", "gAAAAA", "ä"])
def test_a_text_that_was_not_encrypted_is_refused(stored):
    with pytest.raises(UnreadableSecret):
        decrypt(stored)


def test_a_changed_secret_cannot_be_read():
    stored = encrypt("secret")
    with pytest.raises(UnreadableSecret):
        decrypt(stored[:-4] + ("AAA=" if stored[-4:] != "AAA=" else "BBB="))
