"""The node agent: the node API over an engine."""
