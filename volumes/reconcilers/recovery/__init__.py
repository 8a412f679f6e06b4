"""Recovery of a database that is older than its nodes.

What nodes hold decides. No change that was acknowledged to a client is rolled back. Objects for
which no row can be made are kept until an operator decides.
"""
