"""What the agent drives: the data plane of a storage node."""
