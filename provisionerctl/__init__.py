"""The command line of the provisioner. It is a client of the HTTP API, and imports nothing else of
the provisioner.
"""
