"""Node check: compares what nodes hold with the database."""
