"""What a control plane tells Prometheus, under Istio's names.

One `Metrics` per running control plane: its counters begin at zero when it is restarted, which is
what Prometheus expects of counters.  Other parts add their own numbers, asked for at every scrape:

    metrics.gauge(name, help, value)           one number
    metrics.samples(help_texts, samples)       many that are computed together
    metrics.registry.register(collector)       anything else that has collect()

Source of the names: istio-semantics 9.2.  They have no suffix `_total`, as Istio's have none; so
counters are not prometheus_client's own, which insists on it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from mutua.telemetry.certificates import Sample

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

INFO: Final = "pilot_info"
PROXIES: Final = "pilot_xds"
INBOUND_CONFLICTS: Final = "pilot_conflict_inbound_listener"
START: Final = "mutua_control_plane_start_time_seconds"
UPTIME: Final = "istiod_uptime_seconds"

CSRS: Final = "citadel_server_csr_count"
ISSUED: Final = "citadel_server_success_cert_issuance_count"
AUTHENTICATION_FAILURES: Final = "citadel_server_authentication_failure_count"
PARSING_ERRORS: Final = "citadel_server_csr_parsing_err_count"
IDENTITY_ERRORS: Final = "citadel_server_id_extraction_err_count"
SIGNING_ERRORS: Final = "citadel_server_csr_sign_err_count"

COUNTED: Final = {
    CSRS: "Signing requests received.",
    ISSUED: "Certificates issued.",
    AUTHENTICATION_FAILURES: "Callers who could not prove who they are.",
    PARSING_ERRORS: "Signing requests that could not be read.",
    IDENTITY_ERRORS: "Callers who proved an identity that nobody can have.",
    SIGNING_ERRORS: "Signing requests that the authority refused, by reason.",
}
"""Every counter, and what it counts."""

LABELS: Final = {SIGNING_ERRORS: "error"}
"""The one label that a counter may have."""


class Metrics:
    """The numbers of one control plane.

    Attributes:
        registry: Where collectors are registered.
    """

    def __init__(self, *, version: str, started_at: float, now: Callable[[], float]) -> None:
        """Begin to count.

        Args:
            version: Of mutua.
            started_at: When the control plane started, Unix seconds.
            now: Returns the wall time, Unix seconds.
        """
        self.registry = CollectorRegistry()
        self._counts: Counter[tuple[str, str]] = Counter()
        self.registry.register(ProcessCollector(registry=None))
        self.registry.register(_Counts(self._counts))
        self.gauge(INFO, "Version of this control plane.", lambda: 1, version=version)
        self.gauge(START, "When this control plane started, Unix time.", lambda: started_at)
        self.gauge(UPTIME, "How long this control plane has run.", lambda: now() - started_at)

    def count(self, name: str, label: str = "") -> None:
        """Add one.

        Args:
            name: Key of `COUNTED`.
            label: Value of its label, "" when it has none.
        """
        self._counts[name, label] += 1

    def gauge(self, name: str, help_text: str, value: Callable[[], float], **labels: str) -> None:
        """Tell a number that is asked for at every scrape."""
        self.registry.register(_Gauge(name, help_text, value, labels))

    def samples(
        self, help_texts: Mapping[str, str], samples: Callable[[], Iterable[Sample]]
    ) -> None:
        """Tell gauges that are computed together at every scrape.

        Args:
            help_texts: Every metric there may be, and what it tells.
            samples: Returns the numbers.
        """
        self.registry.register(_Samples(help_texts, samples))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format, of type `CONTENT_TYPE`."""
        text = generate_latest(self.registry).decode()
        for name in COUNTED:
            text = text.replace(f"# TYPE {name} untyped\n", f"# TYPE {name} counter\n")
        return text.encode()


class _Gauge(Collector):
    def __init__(
        self, name: str, help_text: str, value: Callable[[], float], labels: dict[str, str]
    ) -> None:
        self._name = name
        self._help = help_text
        self._value = value
        self._labels = labels

    @override
    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._help, labels=tuple(self._labels))
        family.add_metric(tuple(self._labels.values()), self._value())
        return (family,)


class _Samples(Collector):
    def __init__(
        self, help_texts: Mapping[str, str], samples: Callable[[], Iterable[Sample]]
    ) -> None:
        self._help = help_texts
        self._samples = samples

    @override
    def collect(self) -> Iterable[Metric]:
        families = {name: Metric(name, text, "gauge") for name, text in self._help.items()}
        for one in self._samples():
            families[one.name].add_sample(one.name, dict(one.labels), one.value)
        return families.values()


class _Counts(Collector):
    def __init__(self, counts: Counter[tuple[str, str]]) -> None:
        self._counts = counts

    @override
    def collect(self) -> Iterable[Metric]:
        return [self._family(name, help_text) for name, help_text in COUNTED.items()]

    def _family(self, name: str, help_text: str) -> Metric:
        family = Metric(name, help_text, "unknown")
        key = LABELS.get(name)
        if key is None:
            family.add_sample(name, {}, self._counts[name, ""])
            return family
        for (counted, label), value in sorted(self._counts.items()):
            if counted == name:
                family.add_sample(name, {key: label}, value)
        return family
