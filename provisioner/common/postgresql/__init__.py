"""Django's PostgreSQL backend, changed so that it fails at once while the server is down, and
recovers at once when the server is back (docs/decisions).
"""
