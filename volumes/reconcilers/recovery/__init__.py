"""Recovery of a database that is older than its nodes.

Where they differ, the contents of the nodes count. No change that was acknowledged to a client is
rolled back. Objects for which no row can be created are kept until an operator decides.
"""
