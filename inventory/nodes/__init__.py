"""Storage nodes: the provisioner's client for them, and the agent and engines that run on them."""
