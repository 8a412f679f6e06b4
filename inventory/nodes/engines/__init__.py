"""Engines: each controls a kind of data plane of a storage node, for the agent."""
