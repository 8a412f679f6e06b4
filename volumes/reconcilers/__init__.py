"""Reconcilers compare what should exist with what exists, and repair it."""
