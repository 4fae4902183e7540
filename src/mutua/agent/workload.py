"""For whom the agent holds a certificate."""

from dataclasses import dataclass
from pathlib import Path

from mutua.foundation.spiffe import SpiffeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One pod that has an identity.

    Attributes:
        uid: The pod's uid: one incarnation, one key.
        identity: Its SPIFFE ID.
        certs_dir: Where the certificate files go (/etc/certs of the pod's istio-proxy), or None.
    """

    uid: str
    identity: SpiffeId
    certs_dir: Path | None = None
