"""What runs on a storage node: the node API over an engine."""
