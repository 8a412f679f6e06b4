"""Publish volumes to hosts: targets, namespaces and sessions."""
