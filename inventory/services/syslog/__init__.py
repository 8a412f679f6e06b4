"""Syslog: the servers in the settings of nodes, and the records that are sent to them."""
