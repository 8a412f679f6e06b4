"""The provisioner. This module defines its version."""

__version__ = "1.0.0"
