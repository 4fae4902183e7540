"""What a person wants to know of a certificate, without the library that reads it."""

from dataclasses import dataclass
from datetime import datetime

from mutua.identity.x509 import parse_certificates


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """One certificate in words.

    Attributes:
        serial_number: In hexadecimal, 32 digits.
        not_before: First instant at which it is valid.
        not_after: Last instant at which it is valid.
    """

    serial_number: str
    not_before: datetime
    not_after: datetime

    def is_valid(self, now: datetime) -> bool:
        """Tell whether it is neither too early nor too late for it."""
        return self.not_before <= now <= self.not_after


def certificate_facts(pem: str) -> list[CertificateFacts]:
    """Return the facts of every certificate in a PEM text, in its order.

    Raises:
        Malformed: It is not PEM, or holds no certificate.
    """
    return [
        CertificateFacts(
            f"{one.serial_number:032x}", one.not_valid_before_utc, one.not_valid_after_utc
        )
        for one in parse_certificates(pem)
    ]
