"""The beat scheduler of the production form."""

from typing import Any

from redbeat import RedBeatScheduler
from redbeat.schedulers import get_redis

from provisioner import startup
from provisioner.common import clock


class Scheduler(RedBeatScheduler):  # type: ignore[misc] # has no types
    """The scheduler of RedBeat. It first reads the time of the database. With a wrong clock of the
    machine, jobs might never be due.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """:raises CannotStart: a setting is wrong, or the database cannot be used."""
        startup.check()
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send the messages of all due jobs. Returns the seconds until the next job is due."""
        self._reschedule_far_jobs()
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def _reschedule_far_jobs(self) -> None:
        """Count the intervals of jobs from now if the last run lies in the future. An earlier beat
        recorded that run before the database's clock stepped back.
        """
        schedule_key = self.app.redbeat_conf.schedule_key
        due_at = dict(get_redis(self.app).zrange(schedule_key, 0, -1, withscores=True))
        latest = clock.epoch_seconds() + clock.TOLERANCE.total_seconds()
        for name, job in self.app.conf.beat_schedule.items():
            key = self.Entry.generate_key(self.app, name)
            if due_at.get(key, 0.0) > latest + job["schedule"]:
                self.Entry.from_key(key, app=self.app).reschedule()
