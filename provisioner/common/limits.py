"""The greatest values that a storage node may report, and sizes of caches.

The values are far above those of any hardware. Even if a node reports wrong values, sums over the
pool are numbers that every client can represent.
"""

MOST_SSDS = 256
MOST_BYTES_OF_SSD = 2**50
MOST_BYTES_OF_NODE = MOST_SSDS * MOST_BYTES_OF_SSD
MOST_PER_SECOND = 2**50
"""IOPS, or bytes per second."""
MOST_GENERATION = 2**53
"""Generations are microseconds since 1970; this one is in the year 2255."""

MOST_CREDENTIALS = 16_384
"""A process remembers this number of verified tokens and of certificates. Each host has its own. If
there are more, hosts that call in turn find none of theirs.
"""
