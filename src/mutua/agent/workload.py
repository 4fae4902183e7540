"""For whom the agent holds a certificate."""

from dataclasses import dataclass
from pathlib import Path

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.keys import KeyAlgorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One pod that has an identity.

    Attributes:
        uid: The pod's uid: one incarnation, one key.
        identity: Its SPIFFE ID.
        key_algorithm: Of its keys.
        certs_dir: Where the certificate files go (/etc/certs of the pod's istio-proxy), or None.
    """

    uid: str
    identity: SpiffeId
    key_algorithm: KeyAlgorithm = KeyAlgorithm.P256
    certs_dir: Path | None = None
