"""``manage.py event_kinds``: write docs/reference/events.md from the registry of kinds."""

from events.kinds import OBJECTS, Kind
from events.selectors import SETTLE_SECONDS
from events.stream import FOLLOW_SECONDS, KEEP_ALIVE_SECONDS
from provisioner.common.pages import PageCommand

HEAD = """# Events

The event log records the changes in the pool: the objects, the time, the actor and the reason. Each
event is written in the transaction of the change that it reports, and is never changed afterwards.
`manage.py event_kinds` writes this page, and `make check` fails when it is outdated.

```sh
provisionerctl events --volume db1            # for deleted objects: --about ID
provisionerctl events --severity warning --since 12h
provisionerctl events --follow
```

## Permissions

Callers with the role ADMIN or MONITOR may use `GET /events`. A caller that is bound to a tenant
sees only the events of its tenant: about its volumes, snapshots, replicas, publications, tasks,
hosts and budget. It does not see the details `placement`, `refused` and `nodes`, because they
describe the nodes of the pool. All other events concern the pool, and so do the events of a tenant
that was deleted. The roles STORAGE, HOST and NODE
cannot read events, because events name objects that those roles may not see.

## Fields

| field | meaning |
| --- | --- |
| `number` | identifies the event; greater than the numbers of earlier events; has gaps |
| `time` | the database's time, UTC |
| `severity` | `info`, `warning`, `error` or `critical` |
| `kind` | one of the kinds below |
| `text` | one sentence; its wording may change |
| `reason` | the reason, if it is known |
| `actor` | the actor: `type` and `name`, see below |
| `requestId` | the `X-Request-ID` of the request that caused the event |
| `tenantId` | the tenant whose callers see the event |
| `objects` | `type` and `id` of the objects of the event. Types: {objects} |
| `details` | further facts of this kind |

An actor is a `caller` (user or token), a `host` or a `node` by its token, a job of a `worker`, or a
`command` on the server.

## Reading

`GET /events` answers 100 events (`limit`, at most 1,000) by ascending number, or with `newestFirst`
by descending number. `marker` continues after the last number. Filters: `about`, `kind`,
`severity`, `actor`, `requestId`, `since`, `until`.

With `follow=true`, new events are streamed as server-sent events, each with its number as `id`. A
stream ends after {follow:g} s; the client continues with the header `Last-Event-ID`, which browsers
send automatically. A stream also ends within 5 s when its token or user is no longer valid, or has
other rights. An idle stream gets a comment every {alive:g} s. A process accepts followers for a
quarter of its requests (four times `API_THREADS`), and one caller may have half of these; further
followers get 429. A waiting follower does not occupy a connection to the database.

The numbers of events are not in the order of commits. A reader that continues after the last number
could therefore miss events. So an event is shown only when no older transaction that records events
is running, which is usually at once. A transaction that hangs delays newer events for {settle:g} s.
If it commits later, its events are in the log, but followers may miss them.

## Retention and cost

A job deletes events every minute: those older than `EVENT_RETENTION_DAYS`, and the oldest ones when
there are more than about `EVENT_MOST`. The event of a create costs one more statement. Events that
callers can cause without limit are counted: a process records one event a minute at most, or 20 of
refused creates. Their `count` includes the others since the previous event.

`GET /tasks` lists ended tasks only for a while (`TASK_RETENTION_MINUTES`). Their events stay:
`provisionerctl events --task ID`.

## Syslog and alerts

`EVENT_SYSLOG` is the lowest severity of the events that are forwarded to the pool's syslog
servers, with the kind, number, actor and objects as parameters. The metric
`provisioner_recent_events` counts the events of the last hour by kind, for `warning` and higher.
`DataLost` and `SnapshotLost` report a loss of data.

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
