"""Runs ``provisionerctl`` by ``python -m provisionerctl``."""

from provisionerctl.main import main

main()
