"""What Prometheus reads: Istio's names, counters that are counters, other people's collectors."""

import re

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mutua.telemetry import metrics as names
from mutua.telemetry.certificates import Sample
from mutua.telemetry.metrics import Metrics


def read(metrics: Metrics) -> dict[tuple[str, str], float]:
    """Return the samples; prometheus_client's own parser insists on the suffix, Prometheus not."""
    samples = re.findall(r"^(\w+)(?:{(.*)})? (\S+)$", metrics.text().decode(), re.MULTILINE)
    return {(name, labels): float(value) for name, labels, value in samples}


def test_counters_have_istios_names_and_begin_at_zero() -> None:
    metrics = Metrics(version="1.2", started_at=100.0, now=lambda: 160.0)
    assert read(metrics)[names.CSRS, ""] == 0

    metrics.count(names.CSRS)
    metrics.count(names.CSRS)
    metrics.count(names.SIGNING_ERRORS, "policy.denied")

    found = read(metrics)
    assert found[names.CSRS, ""] == 2
    assert found[names.SIGNING_ERRORS, 'error="policy.denied"'] == 1
    assert "# TYPE citadel_server_csr_count counter" in metrics.text().decode()
    assert "untyped" not in metrics.text().decode()


def test_it_says_who_it_is_and_since_when() -> None:
    found = read(Metrics(version="1.2", started_at=100.0, now=lambda: 160.0))

    assert found[names.INFO, 'version="1.2"'] == 1
    assert found[names.START, ""] == 100
    assert found[names.UPTIME, ""] == 60
    assert found["process_resident_memory_bytes", ""] > 0


def test_others_add_their_own() -> None:
    class Certificates(Collector):
        def collect(self) -> list[GaugeMetricFamily]:
            return [GaugeMetricFamily("istio_agent_cert_expiry_seconds", "Left.", value=7)]

    metrics = Metrics(version="1", started_at=0.0, now=lambda: 0.0)
    metrics.registry.register(Certificates())

    assert read(metrics)["istio_agent_cert_expiry_seconds", ""] == 7


def test_gauges_that_belong_together_are_computed_at_every_scrape() -> None:
    numbers = iter((1.0, 2.0))
    metrics = Metrics(version="1", started_at=0.0, now=lambda: 0.0)
    metrics.samples({"ends": "When."}, lambda: [Sample("ends", next(numbers), {"pod": "web"})])

    assert read(metrics)["ends", 'pod="web"'] == 1
    assert read(metrics)["ends", 'pod="web"'] == 2
