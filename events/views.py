"""``GET /events`` (an extension of the reference): changes in the pool, with their objects, actors
and reasons.
"""

import datetime as dt
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.request import Request
from rest_framework.response import Response

from events.kinds import OBJECTS, Kind, Severity
from events.models import Event
from events.selectors import EventFilter, details_shown, events_page, newest_number
from events.stream import EVENT_STREAM, stream_events
from provisioner.access.authentication import admission_watch
from provisioner.access.views import ApiViewSet
from provisioner.common.endpoint_spec import NODE, Operation, Output
from provisioner.common.fields import AnyCase
from provisioner.common.parsing import INT64_MAX, Input, Whole, parse, parse_query
from provisioner.common.times import iso_milliseconds

PAGE, LONGEST_PAGE = 100, 1000
SEVERITIES = [severity.wire for severity in Severity]


class Time(serializers.CharField):
    """A time in ISO 8601. A time without a zone is UTC."""

    def __init__(self, **kwargs: Any) -> None:
        rule = "must be a time such as 2026-11-23T13:00:00Z"
        super().__init__(max_length=40, error_messages={"invalid": rule}, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        text: str = super().run_validation(data)
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError:
            self.fail("invalid")
        return at if at.tzinfo else at.replace(tzinfo=dt.UTC)


class EventsInput(Input):
    about = serializers.CharField(
        max_length=128,
        required=False,
        help_text="Only events about this object: `type:id`, such as `volume:...`, or an id. Types "
        f"are {', '.join(OBJECTS)}.",
    )
    kind = serializers.ListField(
        child=AnyCase([kind.wire for kind in Kind]),
        max_length=len(Kind),
        required=False,
        help_text="Only events of these kinds, separated by commas.",
    )
    severity = AnyCase(
        SEVERITIES, required=False, help_text="Only events of this severity or a higher one."
    )
    actor = serializers.CharField(
        max_length=255,
        required=False,
        help_text="Only events that this user, token, host or job caused.",
    )
    requestId = serializers.CharField(
        source="request_id",
        max_length=64,
        required=False,
        help_text="Only events that this request caused.",
    )
    since = Time(required=False, help_text="Only events from this time on.")
    until = Time(required=False, help_text="Only events until this time.")
    marker = Whole(
        required=False,
        help_text="Return the events after the event with this number; with `newestFirst`, the "
        "events before it.",
    )
    limit = Whole(
        required=False,
        default=PAGE,
        min_value=1,
        max_value=LONGEST_PAGE,
        help_text="Greatest number of events in the answer.",
    )
    newestFirst = serializers.BooleanField(
        source="newest_first", default=False, help_text="By descending number."
    )
    follow = serializers.BooleanField(
        default=False,
        help_text="Stream events as server-sent events: the events after `marker` or the header "
        "`Last-Event-ID`, otherwise only new events.",
    )

    def to_internal_value(self, data: Any) -> Any:
        kinds = {name: v.split(",") for name, v in data.items() if name.strip().lower() == "kind"}
        return super().to_internal_value(dict(data) | kinds)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["follow"] and attrs["newest_first"]:
            raise serializers.ValidationError({"newestFirst": "cannot be combined with follow"})
        return attrs


class LastEventInput(Input):
    """The header ``Last-Event-ID``, with which a client continues a stream."""

    lastEventId = Whole(source="number", max_value=INT64_MAX)


class SubjectOutput(Output):
    type = serializers.ChoiceField(OBJECTS)
    id = serializers.CharField(help_text="Id of the object.")


class ActorOutput(Output):
    type = serializers.ChoiceField(Event.Actor.choices)
    name = serializers.CharField(help_text="Name of the user, token, host, node, job or command.")


class EventOutput(Output):
    number = serializers.IntegerField(
        help_text="Greater than the numbers of earlier events; has gaps."
    )
    time = serializers.CharField(help_text="yyyy-MM-dd'T'HH:mm:ss.SSS, UTC, of the database.")
    kind = serializers.ChoiceField([kind.wire for kind in Kind])
    severity = serializers.ChoiceField(SEVERITIES)
    text = serializers.CharField(help_text="The event in one sentence.")
    reason = serializers.CharField(required=False, help_text="The reason.")
    actor = ActorOutput(help_text="The actor.")
    requestId = serializers.CharField(
        required=False, help_text="`X-Request-ID` of the request that caused the event."
    )
    tenantId = serializers.CharField(
        required=False,
        help_text="Tenant whose callers see the event; absent: the event concerns the pool.",
    )
    objects = SubjectOutput(many=True, help_text="The objects of the event.")
    details = serializers.DictField(help_text="Further facts of this kind of event.")
    example: ClassVar = {
        "number": 4711,
        "time": "2026-11-23T13:00:00.000",
        "kind": "BackendUnavailable",
        "severity": "error",
        "text": f"Node {NODE} is Unavailable: no probe of the node has arrived.",
        "reason": "no probe of the node has arrived",
        "actor": {"type": "worker", "name": "inventory.jobs.poll_late_backends"},
        "objects": [{"type": "backend", "id": NODE}],
        "details": {"name": "node-1"},
    }


class EventsViewSet(ApiViewSet):
    resource = "events"
    operations: ClassVar = {
        "list": Operation(
            "Get Events",
            query=EventsInput,
            answer=[EventOutput],
            media=EVENT_STREAM,
            extension=True,
        )
    }

    def list(self, request: Request) -> HttpResponseBase:
        fields = parse_query(EventsInput, request)
        limit, newest_first = fields.pop("limit"), fields.pop("newest_first")
        marker, follows = fields.pop("marker", None), fields.pop("follow")
        wanted = _wanted(fields, self.caller.tenant_id)
        if follows:
            return self._follow(request, wanted, marker)
        page = events_page(wanted, marker=marker, limit=limit, newest_first=newest_first)
        return Response([event_json(event, self.caller.tenant_id) for event in page])

    def _follow(
        self, request: Request, wanted: EventFilter, marker: int | None
    ) -> HttpResponseBase:
        last = request.headers.get("Last-Event-ID")
        if last:
            marker = parse(LastEventInput, {"lastEventId": last})["number"]
        after = newest_number() if marker is None else marker
        self._slot.exchange_for_follower()

        def read(number: int) -> list[dict[str, Any]]:
            page = events_page(wanted, marker=number, limit=PAGE)
            return [event_json(event, self.caller.tenant_id) for event in page]

        return stream_events(read, after, admission_watch(request), self._held.pop_all())


def _wanted(fields: dict[str, Any], tenant_id: str | None) -> EventFilter:
    names = fields.pop("kind", ())
    kinds = tuple(kind for kind in Kind if kind.wire in names)
    severity = fields.pop("severity", None)
    level = Severity[severity.upper()] if severity else None
    return EventFilter(tenant_id=tenant_id, kinds=kinds, severity=level, **fields)


def event_json(event: Event, tenant_id: str | None) -> dict[str, Any]:
    """Return an event as clients see it, without unknown values. A caller who is bound to a tenant
    does not see the details about nodes.
    """
    fields = {
        "number": event.number,
        "time": iso_milliseconds(event.at),
        "kind": event.kind,
        "severity": Severity(event.severity).wire,
        "text": event.text,
        "reason": event.reason,
        "actor": {"type": event.actor_type, "name": event.actor},
        "requestId": event.request_id,
        "tenantId": event.tenant_id,
        "objects": [subject_json(subject) for subject in event.subjects],
        "details": details_shown(event, tenant_id),
    }
    return {name: value for name, value in fields.items() if value != ""}


def subject_json(subject: str) -> dict[str, str]:
    """Return the two parts of ``type:id``."""
    kind, _, identity = subject.partition(":")
    return {"type": kind, "id": identity}
