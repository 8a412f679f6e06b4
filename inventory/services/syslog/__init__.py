"""Syslog: the servers that nodes name, and the records that are sent to them."""
