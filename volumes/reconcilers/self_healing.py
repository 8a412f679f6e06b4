"""Find the lost replicas that the provisioner must replace, because no host does."""

import datetime as dt

from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Cast, Greatest

from inventory.models import Backend
from provisioner.common import clock
from provisioner.common.models import LifeState
from volumes.models import Publication, Replica, ReplicaState


def replicas_lost(watched_since: dt.datetime) -> QuerySet[Replica]:
    """Return replicas that have been lost for ``max_replica_down_minutes`` and that no host
    replaces.

    Either the volume is unpublished, or none of its hosts has an agent and one of them is Available
    to rebuild the new replica.

    A Missing replica is lost. A replica of an unpublished volume on an Unavailable node counts as
    lost since the node became Unavailable, but not earlier than ``watched_since``, because late
    nodes were not polled before that time. Its state is not changed, because its data is current if
    the node comes back.
    """
    now = clock.now()
    away = list(Backend.objects.filter(available_until__lt=now).values_list("pk", flat=True))
    published = Publication.objects.filter(volume=OuterRef("volume"))
    heals_itself = Exists(published.filter(host__agent_until__gte=now))
    host_is_there = Exists(published.filter(host__available_until__gte=now))
    on_node_away = Q(~Exists(published), backend__in=away)
    minutes = Cast("volume__max_replica_down_minutes", IntegerField())
    minute = Value(dt.timedelta(minutes=1))
    return (
        Replica.objects.exclude(replica_state=ReplicaState.TERMINATING)
        .filter(Q(replica_state=ReplicaState.MISSING) | on_node_away)
        .filter(~Exists(published) | Q(~heals_itself, host_is_there))
        .filter(
            volume__state=LifeState.READY,
            volume__num_replicas__gt=1,
            volume__max_replica_down_minutes__gt=0,
        )
        .alias(
            lost_at=Case(
                When(replica_state=ReplicaState.MISSING, then="replica_state_since"),
                default=Greatest("backend__available_until", Value(watched_since)),
                output_field=DateTimeField(),
            ),
            lost_for=ExpressionWrapper(Value(now) - F("lost_at"), DurationField()),
            tolerated=ExpressionWrapper(minutes * minute, DurationField()),
        )
        .filter(lost_for__gte=F("tolerated"))
    )
