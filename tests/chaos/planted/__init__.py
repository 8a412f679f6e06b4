"""Bugs that are planted in the processes of a run. The harness must find each of them.

Before anything else, Python imports a ``sitecustomize`` that is on PYTHONPATH. Each folder here has
one.
"""
