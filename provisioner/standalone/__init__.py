"""The embedded form: one command that runs the API, Celery, beat, SQLite and simulated storage
nodes.
"""
