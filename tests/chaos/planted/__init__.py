"""Bugs to plant in the processes of a run: the harness must find each.

Python imports a ``sitecustomize`` that it finds on PYTHONPATH before anything else; each folder
here has one.
"""
