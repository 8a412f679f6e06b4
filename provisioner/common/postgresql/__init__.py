"""PostgreSQL as this system uses it: Django's own backend, which answers at once while the server
is away and recovers at once when it is back (docs/decisions).
"""
