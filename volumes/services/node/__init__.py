"""Storage nodes: contents, drain, maintenance and removal."""
