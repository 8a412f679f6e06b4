"""Shared steps of the tests of metrics."""

from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Api

Labels = dict[str, str]


def samples(api: Api) -> dict[str, list[tuple[Labels, float]]]:
    answer = api.get("/metrics")
    assert answer.http == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(answer.body):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found
