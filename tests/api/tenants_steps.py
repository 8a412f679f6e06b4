"""Steps that tests of tenants share with others."""

BUDGET = {"name": "TEST_TENANT", "capacity": 1000, "totalIOPS": 1000000, "totalBW": 5}
