"""Certificates for configuration files."""

from tests.nodes.conftest import ca, server_pair, transport  # noqa: F401
