"""Puts a database in order that is older than the nodes: what nodes hold decides, nothing that a
client was promised is rolled back, and what no row can be made for is kept until an operator
decides.
"""
