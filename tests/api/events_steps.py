"""Steps that tests of events share."""

from provisioner.access import concurrency
from tests.waiting import eventually


def followers_left() -> None:
    """Wait until each stream has ended, or has noticed with its next line that its client
    disconnected.
    """
    eventually(
        lambda: concurrency._followers.is_idle, seconds=60, what="each stream ends", pause=0.01
    )
