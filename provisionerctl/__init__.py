"""The command line of the provisioner: a client of its HTTP API, which knows nothing else of it."""
