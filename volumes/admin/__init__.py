"""Administration pages."""

from volumes.admin import drains, publications, replicas, snapshots, tenants, volumes

__all__ = ["drains", "publications", "replicas", "snapshots", "tenants", "volumes"]
