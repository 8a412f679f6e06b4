"""``manage.py event_kinds``: write docs/reference/events.md from the registry of kinds."""

from events.kinds import OBJECTS, Kind
from events.selectors import SETTLE_SECONDS
from events.stream import FOLLOW_SECONDS, KEEP_ALIVE_SECONDS
from provisioner.common.pages import PageCommand

HEAD = """# Events

The event log says what happened in the pool, to which objects, when, by whom and why. Each event is
written in the transaction of the change that it tells, and never changed.
`manage.py event_kinds` writes this page, and `make check` fails when it is not current.

```sh
provisionerctl events --volume db1            # also of objects that are gone: --about ID
provisionerctl events --severity warning --since 12h
provisionerctl events --follow
```

## Who sees what

`GET /events` is for the roles ADMIN and MONITOR. A caller that is bound to a tenant sees the events
of its tenant: its volumes, snapshots, replicas, publications, tasks, hosts and budget, without the
details `placement`, `refused` and `nodes`, which tell about the nodes of the pool. All other
events concern the pool. STORAGE, HOST and NODE do not read events: programs have no use for them,
and they name objects that those roles do not see.

## Fields

| field | meaning |
| --- | --- |
| `number` | identifies the event; greater than those of events before it; has gaps |
| `time` | the database's time, UTC |
| `severity` | `info`, `warning`, `error` or `critical` |
| `kind` | one of those below |
| `text` | one sentence for people; its wording may change |
| `reason` | why, if it is known |
| `actor` | who did it: `type` and `name`, see below |
| `requestId` | the `X-Request-ID` of the request that did it |
| `tenantId` | the tenant whose callers see it |
| `objects` | `type` and `id` of what it is about: {objects} |
| `details` | further facts of this kind |

An actor is a `caller` (user or token), a `host` or a `node` by its token, a job of a `worker`, or a
`command` on the server.

## Reading

`GET /events` answers 100 events (`limit`, at most 1,000) by ascending number, or with `newestFirst`
by descending number. `marker` continues after the last number. Filters: `about`, `kind`,
`severity`, `actor`, `requestId`, `since`, `until`.

With `follow=true` it streams new events as server-sent events, each with its number as `id`. A
stream ends after {follow:g} s; the client continues with the header `Last-Event-ID`, as browsers
do by themselves. An idle stream gets a comment every {alive:g} s. A process has a quarter of its
places (`API_THREADS` times 4) for followers, and half of those for one caller; further ones get
429. A follower holds no connection of the pool while it waits.

An event is shown as soon as no running transaction that records events is older. Numbers are not
taken in the order of commits, so whoever continues after a number would otherwise miss some. Mostly
that is at once. A transaction that hangs delays newer events for {settle:g} s; if it commits after
that, its own events are in the log, but followers may have passed them.

## Retention and cost

Events are kept for `EVENT_RETENTION_DAYS`, and about `EVENT_MOST` of them; a job deletes the
oldest every minute. A create writes one event, which is one more statement. What callers can cause
as often as they like is counted: at most one event a minute of each kind, key and process.

Tasks leave `GET /tasks` after a while (`TASK_RETENTION_MINUTES`); their events stay:
`provisionerctl events --task ID`.

## Syslog and alerts

With `EVENT_SYSLOG`, events of that severity or higher are forwarded to the pool's syslog servers,
with the kind, number, actor and objects as parameters. `provisioner_recent_events` has the numbers
of the last hour by kind, for `warning` and higher; `DataLost` and `SnapshotLost` tell that data is
lost.

## Kinds

| kind | severity | recorded when | text |
| --- | --- | --- | --- |
"""


class Command(PageCommand):
    page = "docs/reference/events.md"

    def text(self) -> str:
        objects = ", ".join(f"`{name}`" for name in OBJECTS)
        head = HEAD.format(
            objects=objects, follow=FOLLOW_SECONDS, alive=KEEP_ALIVE_SECONDS, settle=SETTLE_SECONDS
        )
        return head + "".join(map(_line, Kind))


def _line(kind: Kind) -> str:
    said = kind.value
    return f"| `{said.name}` | {said.severity.wire} | {said.when} | {said.text} |\n"
