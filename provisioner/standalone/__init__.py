"""The embedded form: API, Celery, beat, SQLite and simulated storage nodes from one command."""
