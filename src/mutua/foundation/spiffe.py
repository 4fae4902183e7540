"""Workload identities: SPIFFE IDs of the form Istio uses.

    spiffe://<trust domain>/ns/<namespace>/sa/<service account>

Sources: SPIFFE-ID specification section 2; Istio security concepts, "Istio identity".
"""

import re
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from mutua.foundation.errors import Rejected

SCHEME: Final = "spiffe://"

TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
"""Characters and length of a trust domain (SPIFFE-ID section 2.1)."""

SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")
"""Characters of a path segment (SPIFFE-ID section 2.2)."""

MAX_BYTES: Final = 2048
"""Longest SPIFFE ID in bytes (SPIFFE-ID section 2.3)."""


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """One workload identity.

    Attributes:
        trust_domain: Lower case, without the scheme.
        namespace: Kubernetes namespace.
        service_account: Kubernetes service account.
    """

    trust_domain: str
    namespace: str
    service_account: str

    def __post_init__(self) -> None:
        if not TRUST_DOMAIN.fullmatch(self.trust_domain):
            raise Rejected(f"not a SPIFFE trust domain: {self.trust_domain!r}")
        for segment in (self.namespace, self.service_account):
            if not SEGMENT.fullmatch(segment) or segment in {".", ".."}:
                raise Rejected(f"not a SPIFFE path segment: {segment!r}")
        if len(str(self)) > MAX_BYTES:
            raise Rejected(f"SPIFFE ID longer than {MAX_BYTES} bytes")

    @property
    def account(self) -> tuple[str, str]:
        """Namespace and service account: what stays when a mesh moves to another trust domain."""
        return self.namespace, self.service_account

    @override
    def __str__(self) -> str:
        return f"{SCHEME}{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def parse_spiffe_id(text: str) -> SpiffeId:
    """Read a SPIFFE ID of Istio's form.

    Raises:
        Rejected: `text` has another scheme, path or character set.
    """
    parts = text.removeprefix(SCHEME).split("/")
    if not text.startswith(SCHEME) or len(parts) != 5 or (parts[1], parts[3]) != ("ns", "sa"):
        raise Rejected(
            f"not a workload identity: {text!r}", hint="expected spiffe://TD/ns/NS/sa/SA"
        )
    return SpiffeId(parts[0], parts[2], parts[4])
