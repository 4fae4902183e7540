"""What peers verify against: trust anchors, and who is no longer trusted although they signed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from mutua.identity.x509 import certificate_pem, fingerprint, parse_certificates


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """Trust anchors of one trust domain.  Nothing in it is secret.

    Attributes:
        roots: PEM, one certificate each, without repetitions.
        crl: PEM certificate revocation lists, one after the other; "" for none.
        checks_authorities: Whether there is a list of every authority up to the anchors: then whole
            chains are checked, else only the certificates of workloads.
    """

    roots: tuple[str, ...]
    crl: str = ""
    checks_authorities: bool = False

    @property
    def roots_pem(self) -> str:
        """All anchors as one PEM text."""
        return "".join(self.roots)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of each anchor, hexadecimal."""
        return tuple(fingerprint(root) for root in self.roots)

    @property
    def digest(self) -> str:
        """Names exactly this bundle, 16 hexadecimal digits."""
        return hashlib.blake2b(
            f"{self.roots_pem}{self.crl}{self.checks_authorities}".encode(), digest_size=8
        ).hexdigest()


def bundle_of(pems: Iterable[str], crl: str = "") -> TrustBundle:
    """Make a bundle of PEM texts that may hold several anchors each, and the same ones twice.

    Raises:
        Malformed: One of them holds no certificate, or a damaged one.
    """
    roots = [certificate_pem(one) for pem in pems for one in parse_certificates(pem)]
    return TrustBundle(tuple(dict.fromkeys(roots)), crl)
