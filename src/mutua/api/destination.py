"""DestinationRule as a typed value: how clients treat a host.

    host            as written; `hostname` gives the full name
    policy          for every port that `policy.ports` does not name
    policy.ports    by Service port; an entry replaces the policy wholesale
    subsets         endpoints with certain labels, under a policy of their own

An empty `tls` block means DISABLE, as in Istio.  Admission (mutua.api.validation.destination)
judges the content; this module reads what has the right shape.
Specification: istio-semantics section 6.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.security import match_labels
from mutua.api.shape import misshapen
from mutua.api.tables.istio import DESTINATION_RULE
from mutua.api.traffic import (
    ConnectionPool,
    LoadBalancer,
    OutlierDetection,
    read_connection_pool,
    read_load_balancer,
    read_outlier_detection,
)
from mutua.api.verdict import Invalid

ROOTS: Final = "-cacert"
"""What follows `credentialName` in the name of a Secret that holds the roots alone."""


class TlsMode(Enum):
    """What a client sends."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """One `tls` block.

    Attributes:
        mode: What to send; DISABLE when the block does not say.
        client_certificate: Path of a certificate chain in the proxy's files.
        private_key: Path of its key.
        ca_certificates: Path of the roots to verify the server against, "" for the system's.
        credential_name: Name of a Secret instead of paths.
        subject_alt_names: Whom the server must prove to be; None when the block does not say.
        sni: Server name to ask for, "" for the usual one.
        insecure_skip_verify: Accept any server.
        ca_crl: Path of revocation lists.
    """

    mode: TlsMode
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] | None = None
    sni: str = ""
    insecure_skip_verify: bool = False
    ca_crl: str = ""

    @property
    def names_files(self) -> bool:
        """Whether the proxy reads files for it."""
        own = self.client_certificate, self.private_key, self.ca_certificates, self.ca_crl
        return self.mode in {TlsMode.SIMPLE, TlsMode.MUTUAL} and any(own)


NO_PORTS: Final[Mapping[int, "TrafficPolicy"]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """One `trafficPolicy`, or one entry of its `portLevelSettings`.

    Attributes:
        tls: Its `tls` block, None without one.
        balancer: Its `loadBalancer` block, None without one.
        pool: Its `connectionPool` block, None without one.
        outliers: Its `outlierDetection` block, None without one.
        ports: `portLevelSettings`, by Service port; empty in an entry of one.
    """

    tls: ClientTls | None = None
    balancer: LoadBalancer | None = None
    pool: ConnectionPool | None = None
    outliers: OutlierDetection | None = None
    ports: Mapping[int, "TrafficPolicy"] = field(default_factory=lambda: NO_PORTS)

    @property
    def passthrough(self) -> bool | None:
        """Whether the client chooses the endpoint; None when there is no load balancer."""
        return None if self.balancer is None else self.balancer.simple == "PASSTHROUGH"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Some of a host's endpoints.

    Attributes:
        name: Its name.
        labels: What the endpoints' pods are labelled.
        policy: Its own policy, None without one.
    """

    name: str
    labels: Mapping[str, str]
    policy: TrafficPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRule:
    """One rule as its author wrote it.

    Attributes:
        namespace: Where it lives.
        name: Its name; without meaning.
        created: creationTimestamp, RFC 3339 in UTC; "" before it was stored.
        host: As written: a short name, a full one, or one with a wildcard.
        policy: For the host as a whole, None without one.
        subsets: In the order written.
        export_to: Namespaces whose clients see it, "." and "*" as written; () for the default.
        selector: Labels of the clients it applies to; None for all that see it.
        source: The object it was read from, for whoever passes it on; {} when it was not.
    """

    namespace: str
    name: str
    created: str = ""
    host: str
    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    selector: Mapping[str, str] | None = None
    source: Object = field(default_factory=dict, compare=False, repr=False)

    def hostname(self, dns_domain: str) -> str:
        """Return the host in full, in lower case: short names mean the rule's own namespace."""
        host = self.host.lower().rstrip(".")
        if "." in host or "*" in host:
            return host
        return f"{host}.{self.namespace}.svc.{dns_domain}"

    def tls_blocks(self) -> Iterator[tuple[str, ClientTls]]:
        """Yield every `tls` block and its path."""
        policies = [("spec.trafficPolicy", self.policy)]
        policies += [
            (f"spec.subsets[{index}].trafficPolicy", one.policy)
            for index, one in enumerate(self.subsets)
        ]
        for path, policy in policies:
            if policy is None:
                continue
            entries = [(path, policy)]
            entries += [
                (f"{path}.portLevelSettings[{port}]", entry) for port, entry in policy.ports.items()
            ]
            yield from ((f"{where}.tls", one.tls) for where, one in entries if one.tls is not None)


def parse_destination_rule(obj: Object) -> DestinationRule:
    """Read a DestinationRule of any version.

    Raises:
        Invalid: Its shape is wrong; carries every error found.
    """
    errors = list(misshapen(DESTINATION_RULE, obj))
    if errors:
        raise Invalid(errors)
    metadata, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    labels = match_labels(spec.get("workloadSelector"))
    return DestinationRule(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        created=metadata.get("creationTimestamp") or "",
        host=spec["host"],
        policy=_policy(spec.get("trafficPolicy")),
        subsets=tuple(
            Subset(
                name=subset["name"],
                labels=subset.get("labels") or {},
                policy=_policy(subset.get("trafficPolicy")),
            )
            for subset in spec.get("subsets") or ()
        ),
        export_to=tuple(spec.get("exportTo") or ()),
        selector=dict(labels) if labels else None,
        source=obj,
    )


def _policy(policy: Mapping[str, Any] | None) -> TrafficPolicy | None:
    if policy is None:
        return None
    ports = {
        entry["port"]["number"]: _policy(entry) or TrafficPolicy()
        for entry in policy.get("portLevelSettings") or ()
        if (entry.get("port") or {}).get("number")
    }
    return TrafficPolicy(
        tls=_tls(policy.get("tls")),
        balancer=read_load_balancer(policy.get("loadBalancer")),
        pool=read_connection_pool(policy.get("connectionPool")),
        outliers=read_outlier_detection(policy.get("outlierDetection")),
        ports=ports or NO_PORTS,
    )


def _tls(tls: Mapping[str, Any] | None) -> ClientTls | None:
    if tls is None:
        return None
    names = tls.get("subjectAltNames")
    return ClientTls(
        mode=TlsMode(tls.get("mode") or "DISABLE"),
        client_certificate=tls.get("clientCertificate") or "",
        private_key=tls.get("privateKey") or "",
        ca_certificates=tls.get("caCertificates") or "",
        credential_name=tls.get("credentialName") or "",
        subject_alt_names=tuple(names) if names else None,
        sni=tls.get("sni") or "",
        insecure_skip_verify=bool(tls.get("insecureSkipVerify")),
        ca_crl=tls.get("caCrl") or "",
    )
