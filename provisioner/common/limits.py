"""What a storage node may say of itself at most.

It is far above all hardware; sums over a pool in which one node lies stay numbers that every client
can hold.
"""

MOST_SSDS = 256
MOST_BYTES_OF_SSD = 2**50
MOST_BYTES_OF_NODE = MOST_SSDS * MOST_BYTES_OF_SSD
MOST_PER_SECOND = 2**50
"""IOPS, or bytes per second."""
MOST_GENERATION = 2**53
"""Generations are microseconds since 1970: this is in the year 2255."""
