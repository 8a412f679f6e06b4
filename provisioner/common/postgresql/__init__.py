"""Django's PostgreSQL backend, with another way to connect: while the server is down, connecting
fails at once, and half a second after it is back, it succeeds (docs/decisions/0014).
"""
