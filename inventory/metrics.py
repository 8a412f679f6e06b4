"""Metrics of node calls and syslog forwarding, for ``GET /metrics``."""

from prometheus_client import Counter, Histogram

CALLS = Counter(
    "provisioner_node_calls",
    "Calls to storage nodes; outcome is OK, UNREACHABLE or the code of the node's refusal.",
    ["method", "path", "outcome"],
)
SECONDS = Histogram(
    "provisioner_node_call_seconds",
    "Duration of calls to storage nodes in seconds.",
    ["method", "path"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15),
)
DROPPED = Counter(
    "provisioner_syslog_records_dropped",
    "Records dropped because too many records already wait for a syslog server, or because they "
    "waited too long.",
)


def count_node_call(address: str, method: str, template: str, outcome: str, seconds: float) -> None:
    """Count a call. This is an observer of :class:`~inventory.nodes.client.NodeTransport`.

    The address is not a label, because a thousand nodes would create a thousand times as many
    series.
    """
    CALLS.labels(method, template, outcome).inc()
    SECONDS.labels(method, template).observe(seconds)
