"""Issues licences as the tests' own vendor."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inventory.services.licenses import LicenseTerms, license_issue, vendor_public_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = vendor_public_key(KEY)


def issued(key=KEY, **terms):
    known = {"type": "PRODUCTION", "maxBackends": 8}
    return license_issue(terms=LicenseTerms.model_validate(known | terms), key=key)


def believe(settings, public_key=PUBLIC_KEY):
    """Make the provisioner accept licences of this vendor."""
    settings.ENVIRONMENT = settings.ENVIRONMENT.model_copy(
        update={"license_public_key": public_key}
    )
