"""Each alert of deploy/prometheus/alerts.yml fires just above its threshold, only after its time,
and not just below.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.programs import tool
from tests.system.deploy_steps import DEPLOY, passes, seconds

PROMETHEUS = DEPLOY / "prometheus"
DAY = 86400
STEP = 15
"""Seconds between two samples, and between two evaluations, as in prometheus.yml."""


Pair = tuple[dict[str, str], list[dict[str, str]]]


@dataclass(frozen=True)
class Alert:
    """``above`` and ``below`` are values of the series ``{name: values}``, in promtool's notation:
    the alert fires with one of them, and with none of the other.
    """

    above: dict[str, str]
    below: list[dict[str, str]]
    after: int = 0
    """Seconds: so long, the condition must last."""
    delay: int = 0
    """Seconds until the condition is true, for rates."""


def always(value: object) -> str:
    return f"{value}x400"


def rising(step: object) -> str:
    return f"0+{step}x400"


def per_status(errors: int, of: int, status: str = "503") -> dict[str, str]:
    name = "django_http_responses_total_by_status_total"
    return {
        f'{name}{{status="{status}"}}': rising(errors),
        f'{name}{{status="200"}}': rising(of - errors),
    }


def slow(faster: int, of: int) -> dict[str, str]:
    """Requests, of which so many took up to 5 s."""
    name = "django_http_requests_latency_including_middlewares_seconds_bucket"
    counts = {"5": faster, "10": of, "+Inf": of}
    return {f'{name}{{le="{le}"}}': rising(count) for le, count in counts.items()}


def one(series: str, above: object, *below: object, others: Iterable[str] = ()) -> Pair:
    """One series at constant values, and series that are none of this alert's business."""
    quiet = [{series: always(value)} for value in below]
    return {series: always(above)}, [*quiet, *({other: always(above)} for other in others)]


def pool(free: int, node: str = "a") -> dict[str, str]:
    return {
        f'ks_node_free_capacity_bytes{{instance="{node}"}}': always(free),
        f'ks_node_used_capacity_bytes{{instance="{node}"}}': always(1000 - free),
    }


def ratio(used: str, of: str, above: int, below: int, most: int = 1000) -> Pair:
    return {used: always(above), of: always(most)}, [{used: always(below), of: always(most)}]


def up(job: str) -> Pair:
    other = f'up{{job="{job}", instance="b"}}'
    return {f'up{{job="{job}", instance="a"}}': always(0), other: always(1)}, [{other: always(1)}]


def health(of: str, *others: str) -> Pair:
    name = "provisioner_volume_health"
    return one(f'{name}{{health="{of}"}}', 1, 0, others=(f'{name}{{health="{o}"}}' for o in others))


CALLS, MISSING = "provisioner_node_calls_total", "provisioner_missing_replicas"
EVENTS, REFUSED = "provisioner_recent_events", "provisioner_drain_replicas"
END, TASKS = "provisioner_certificate_end_timestamp_seconds", "provisioner_tasks"
ALERTS = {
    "ApiDown": Alert(*up("provisioner"), 60),
    "WorkerDown": Alert(*up("provisioner-workers"), 60),
    # 1: available, 3: maintenance
    "NodeUnavailable": Alert(*one('ks_node_state{node="n"}', 2, 1, 3), 300),
    "PoolNearlyFull": Alert(pool(99), [pool(100)], 900),
    "VolumesFaulted": Alert(*health("Faulted", "Degraded", "Unknown"), 60),
    # a rebuild is on its way to be healthy
    "VolumesDegraded": Alert(*health("Degraded", "Rebuilding"), 900),
    "VolumesUnknown": Alert(*health("Unknown", "Faulted"), 300),
    "LastReplicaMissing": Alert(
        *one(f'{MISSING}{{only="yes"}}', 1, 0, others=[f'{MISSING}{{only="no"}}'])
    ),
    "ReplicaMissing": Alert(
        *one(f'{MISSING}{{only="no"}}', 1, 0, others=[f'{MISSING}{{only="yes"}}']), 900
    ),
    "DataLost": Alert(
        *one(f'{EVENTS}{{kind="SnapshotLost"}}', 1, 0, others=[f'{EVENTS}{{kind="NodeLost"}}'])
    ),
    "Orphans": Alert(*one('provisioner_orphans{node="n", kind="volume"}', 1, 0), 3600),
    "DrainHindered": Alert(
        *one(f'{REFUSED}{{state="refused"}}', 1, 0, others=[f'{REFUSED}{{state="waiting"}}']), 900
    ),
    "TaskFailed": Alert(
        *one(f'{TASKS}{{state="FAILED"}}', 1, 0, others=[f'{TASKS}{{state="ABORTED"}}'])
    ),
    "WritesBarred": Alert(*one("provisioner_writes_barred", 1, 0), 30),
    # the counter of a message rises once
    "BrokerUnreachable": Alert(
        {"provisioner_unsent_messages_total": "0 0 1x400"},
        [{"provisioner_unsent_messages_total": always(7)}],
        delay=30,
    ),
    # a minute more than three intervals
    "JobSilent": Alert(
        *ratio("provisioner_job_age_seconds", "provisioner_job_interval_seconds", 91, 90, 10), 60
    ),
    "NodeRefusesCredentials": Alert(
        {f'{CALLS}{{outcome="UNAUTHORIZED"}}': rising(1)},
        [
            {f'{CALLS}{{outcome="NOT_FOUND"}}': rising(1)},
            {f'{CALLS}{{outcome="UNAUTHORIZED"}}': "9x400"},
        ],
        60,
        delay=15,
    ),
    # time begins at 0, and the test ends 10 s before the threshold
    "CertificateEnds": Alert(
        *one(f'{END}{{certificate="node"}}', 14 * DAY - 1, 14 * DAY + 340), 300
    ),
    "TenantBudgetNearlyUsed": Alert(
        *ratio("provisioner_tenant_used_bytes", "provisioner_tenant_budget_bytes", 901, 900), 900
    ),
    "NearTestedLimit": Alert(
        *ratio("provisioner_objects", "provisioner_tested_objects", 801, 800), 3600
    ),
    "ClockSkew": Alert(*one("provisioner_clock_skew_seconds", 5.1, 5), 60),
    "ServerErrors": Alert(
        per_status(11, 1000), [per_status(10, 1000), per_status(500, 1000, "429")], 300, delay=15
    ),
    "SlowRequests": Alert(slow(9899, 10000), [slow(9900, 10000)], 600, delay=15),
}
"""By name. The numbers come from what the alert's summary and its runbook say."""


def fires(name: str, at: int, count: int) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": count}] if count else []
    expression = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    return {"expr": expression, "eval_time": f"{at}s", "exp_samples": samples}


def scenario(series: dict[str, str], tests: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": f"{STEP}s", "input_series": inputs, "promql_expr_test": tests}


def test_alerts_fire_above_their_thresholds_and_after_their_times(tmp_path: Path) -> None:
    scenarios = []
    for name, alert in ALERTS.items():
        start = alert.delay + alert.after
        before = [fires(name, start - STEP, 0)] if start else []
        scenarios.append(scenario(alert.above, [*before, fires(name, start, 1)]))
        end = start + 2 * STEP
        scenarios += [scenario(series, [fires(name, end, 0)]) for series in alert.below]
    file = tmp_path / "test.yml"
    rules = [str(PROMETHEUS / "alerts.yml")]
    content = {"rule_files": rules, "evaluation_interval": f"{STEP}s", "tests": scenarios}
    file.write_text(yaml.safe_dump(content))
    passes(tool("promtool"), "test", "rules", file)


def test_each_alert_has_its_time_and_threshold_here() -> None:
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    after = {rule["alert"]: int(seconds(rule.get("for", "0s"))) for rule in group["rules"]}
    assert after == {name: alert.after for name, alert in ALERTS.items()}


def test_prometheus_reads_the_alerts_more_often_than_the_shortest_of_them() -> None:
    """A rate needs several samples in its window, and ``for`` several evaluations."""
    settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert settings["rule_files"] == [path.name for path in PROMETHEUS.glob("alerts.yml")]
    scrape, evaluation = (
        seconds(settings["global"][f"{of}_interval"]) for of in ("scrape", "evaluation")
    )
    assert scrape == evaluation == STEP
    text = (PROMETHEUS / "alerts.yml").read_text()
    assert min(map(seconds, re.findall(r"\[(\w+)\]", text))) >= 4 * scrape
    assert min(alert.after for alert in ALERTS.values() if alert.after) >= 2 * evaluation


def test_summaries_say_the_thresholds() -> None:
    """What an operator reads is what the test above proves."""
    said = {"PoolNearlyFull": "a tenth", "ServerErrors": "1 %", "SlowRequests": "5 s"}
    said |= {"TenantBudgetNearlyUsed": "90 %", "NearTestedLimit": "80 %"}
    [group] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    summaries = {rule["alert"]: rule["annotations"]["summary"] for rule in group["rules"]}
    for name, threshold in said.items():
        assert threshold in summaries[name]
