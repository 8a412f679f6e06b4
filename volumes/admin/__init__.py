"""Administration pages."""

from volumes.admin import drains, volumes

__all__ = ["drains", "volumes"]
