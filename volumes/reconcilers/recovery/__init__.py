"""Recovery of a database that is older than its nodes.

The contents of nodes decide. No change that was acknowledged to a client is rolled back. Objects
for which no row can be created are kept until an operator decides.
"""
