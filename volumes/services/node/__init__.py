"""Storage nodes: what they hold, drain, maintenance and removal."""
