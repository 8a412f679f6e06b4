"""Django's PostgreSQL backend, with two changes: connecting fails at once while the server is down,
and succeeds at once when the server is back (docs/decisions).
"""
