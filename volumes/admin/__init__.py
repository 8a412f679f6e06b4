"""Administration pages."""

from volumes.admin import drains, pool, publications, replicas, snapshots, tenants, volumes

__all__ = ["drains", "pool", "publications", "replicas", "snapshots", "tenants", "volumes"]
