"""Reconcilers compare the desired state with the actual state, and repair the difference."""
