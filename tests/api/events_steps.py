"""Steps that tests of events share."""

import time

from provisioner.access import concurrency


def followers_left() -> None:
    """Wait until each stream has ended, or noticed with its next line that its client left."""
    give_up = time.monotonic() + 60
    while not concurrency._followers.is_idle:
        assert time.monotonic() < give_up
        time.sleep(0.01)
