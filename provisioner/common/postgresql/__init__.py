"""Django's PostgreSQL backend, with another way to connect: while the server is down, connecting
fails at once, and it succeeds soon after the server is back (docs/decisions/0014).
"""
