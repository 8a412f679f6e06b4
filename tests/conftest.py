"""Fixtures of all tests: simulated nodes on real HTTPS, and the API over real HTTP."""
