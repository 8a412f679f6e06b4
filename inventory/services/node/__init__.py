"""Storage nodes: each is added, probed, read and changed."""
