"""Stores many probes of hosts together."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

from django.db import transaction

from inventory.models import Host
from inventory.services.hosts import HostReport

Probe = tuple[HostReport, dt.datetime]
"""What a host reported, and when."""


def probes_store(probes: Sequence[Probe]) -> tuple[list[HostReport], list[Probe]]:
    """Record probes of agents, each as of its time. Hosts that have been probed later keep what
    they have.

    Returns what is not recorded: the reports of hosts that do not exist, or have another NQN and
    have not been probed later; and the probes of hosts whose rows are locked.
    """
    others, late, columns = [], [], defaultdict(list)
    with transaction.atomic(durable=True):
        hosts = Host.objects.filter(pk__in=[report.uuid for report, _ in probes])
        free = hosts.select_for_update(skip_locked=True).order_by("pk")
        known = {pk: (nqn, at) for pk, nqn, at in free.values_list("pk", "nqn", "last_probe_at")}
        is_complete = len(known) == len(probes)
        there = known.keys() if is_complete else set(hosts.values_list("pk", flat=True))
        for report, at in probes:
            nqn, last_probe_at = known.get(report.uuid, ("", at))
            if report.uuid in there and report.uuid not in known:
                late.append((report, at))
            elif last_probe_at <= at and nqn != report.nqn:
                others.append(report)
            elif last_probe_at <= at:
                columns[tuple(report.columns)].append(report.row(at))
        for names, rows in columns.items():
            Host.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=["uuid"], update_fields=names
            )
    return others, late
