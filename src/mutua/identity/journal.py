"""What the authority writes down before it hands a certificate out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from typing_extensions import override

from mutua.foundation.spiffe import SpiffeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """One certificate that is about to leave the authority.

    Attributes:
        at: Instant of signing, UTC.
        identity: Whom it names.
        authenticated: How the caller proved to be that: "pod socket", "token of …", …
        serial_number: Hexadecimal.
        not_before: Its first valid instant, UTC.
        not_after: Its last valid instant, UTC.
        template: What kind of certificate it is: "workload".
        signer: SHA-256 of the signing CA's certificate, hexadecimal.
        pod: Uid of the pod that it is for, "" where that is unknown.
    """

    at: datetime
    identity: SpiffeId
    authenticated: str
    serial_number: str
    not_before: datetime
    not_after: datetime
    template: str
    signer: str
    pod: str = ""


class Journal(Protocol):
    """Where issuances are written down."""

    def record(self, issuance: Issuance) -> None:
        """Write one down, before it is handed out.

        Raises:
            MutuaError: It could not be written; the certificate is not handed out.
        """
        ...


class NoJournal(Journal):
    """Writes nothing down: for authorities that live as long as a test."""

    @override
    def record(self, issuance: Issuance) -> None:
        pass
