"""Workloads (pods) and where services find them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mutua.model.service import Protocol

TLS_MODE_LABEL: Final = "security.istio.io/tlsMode"
"""Pod label that says whether the pod's sidecar accepts mesh mTLS; injection sets it."""

TLS_MODE_ISTIO: Final = "istio"
"""The value of the label for mesh mTLS; every other value means plaintext."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One pod, or what a ServiceEntry says about one of its endpoints.

    Attributes:
        uid: metadata.uid; "" when a ServiceEntry describes it.
        namespace: Its namespace.
        name: Its name.
        address: Pod IP, "" before it has one.
        labels: Its labels.
        service_account: Name of its service account, "" when unknown.
        container_ports: Named container ports: name to number.
        ready: Whether it is ready for traffic.
        files: Which versions of Secrets and ConfigMaps are in its proxy's files, "" when its
            author mounts none there.
    """

    uid: str
    namespace: str
    name: str
    address: str
    labels: Mapping[str, str]
    service_account: str
    container_ports: Mapping[str, int]
    ready: bool = True
    files: str = ""

    @property
    def accepts_mutual_tls(self) -> bool:
        """Whether a sidecar terminates mesh mTLS for this pod."""
        return self.labels.get(TLS_MODE_LABEL) == TLS_MODE_ISTIO


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place where a Service port is served.

    Attributes:
        address: IP address; of a Service that is resolved by DNS, perhaps a name.
        port: Container port.
        ready: Whether it receives traffic.
        workload: The pod behind it, or what a ServiceEntry says about it; None when nothing is
            known.
    """

    address: str
    port: int
    ready: bool
    workload: Workload | None


@dataclass(frozen=True, slots=True, order=True)
class InboundPort:
    """A container port that some Service exposes.

    Attributes:
        number: The container port.
        protocol: What the oldest Service that targets it says it speaks.
    """

    number: int
    protocol: Protocol
