"""Hosts: reports, rights and removal."""
