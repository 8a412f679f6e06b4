"""Shared steps of the tests of tenants."""

BUDGET = {"name": "TEST_TENANT", "capacity": 1000, "totalIOPS": 1000000, "totalBW": 5}
