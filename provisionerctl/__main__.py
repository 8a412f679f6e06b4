"""``python -m provisionerctl`` is ``provisionerctl``."""

from provisionerctl.main import main

main()
