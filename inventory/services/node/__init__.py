"""Storage nodes: add, probe, read and change them."""
