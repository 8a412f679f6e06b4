"""The beat scheduler of the production form."""

from typing import Any

from redbeat import RedBeatScheduler

from provisioner import startup


class Scheduler(RedBeatScheduler):  # type: ignore[misc] # has no types
    """The scheduler of RedBeat. It first reads the time of the database. With a wrong clock of the
    machine, jobs might never be due.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """:raises CannotStart: a setting is wrong, or the database cannot be used."""
        startup.check()
        super().__init__(*args, **kwargs)
