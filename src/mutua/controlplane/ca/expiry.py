"""What of a CA ends soon?  Its certificates up to the anchor, and an operator's revocation lists.

    |───────────── lifetime ─────────────|── 20 % ──|
                                         renewed if the mesh made it, warned of if it is plugged in

Source: istio-semantics 4.5, CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE.  Pure.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mutua.identity.crl import ListFacts, list_facts
from mutua.identity.facts import CertificateFacts, certificate_facts
from mutua.identity.material import SigningMaterial

THRESHOLDS: Final = (0.2, 0.1, 0.05, 0.0)
"""Shares of the lifetime that are left when somebody is told (dimensionless).  At the first one
what the mesh made is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Something that is valid for a time.

    Attributes:
        what: It, for people.
        is_anchor: Whether it is the CA's root.
        begins: Its first instant, UTC.
        ends: Its last, UTC.
    """

    what: str
    is_anchor: bool = False
    begins: datetime
    ends: datetime

    def urgency(self, now: datetime) -> int:
        """Return how many of the thresholds are passed; all before it begins and once it ended."""
        if now < self.begins:
            return len(THRESHOLDS)
        left = (self.ends - now) / (self.ends - self.begins)
        return sum(left <= one for one in THRESHOLDS)

    def told(self, now: datetime) -> str:
        """Say when it ends, in words that do not change with the time until then."""
        if now < self.begins:
            return f"{self.what} is not valid before {self.begins:%F %T} UTC"
        return f"{self.what} {'ended' if now >= self.ends else 'ends'} at {self.ends:%F %T} UTC"


def deadlines(material: SigningMaterial) -> list[Deadline]:
    """Return what an authority cannot do without: its chain, the anchor, and its lists."""
    (anchor,) = certificate_facts(material.anchor)
    below = [one for pem in material.intermediates for one in certificate_facts(pem)]
    return [
        *(_certificate(one) for one in below),
        _certificate(anchor, is_anchor=True),
        *(_list(one) for one in list_facts(material.bundle.crl)),
    ]


def _certificate(facts: CertificateFacts, *, is_anchor: bool = False) -> Deadline:
    kind = "the root" if is_anchor else "the intermediate CA"
    return Deadline(
        what=f"{kind} {facts.subject or facts.serial_number!r}",
        is_anchor=is_anchor,
        begins=facts.not_before,
        ends=facts.not_after,
    )


def _list(facts: ListFacts) -> Deadline:
    return Deadline(
        what=f"the revocation list of {facts.issuer!r} (ca-crl.pem)",
        begins=facts.begins,
        ends=facts.ends,
    )
