"""The storage nodes: the client that speaks to them, and the agent and engines that run on them."""
