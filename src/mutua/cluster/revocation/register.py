"""Which certificates are around, and who gets no more of them?

Every certificate of a local workload goes through `Gate`: it asks whether the workload may have
one, and notes what it got.  What an earlier daemon issued is read from the workload's certificate
file, which is what its proxy presents until it gets another one.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from typing_extensions import override

from mutua.agent.certificate_files import CHAIN
from mutua.agent.issuer import CertificateIssuer
from mutua.agent.workload import Workload
from mutua.api.revocation import Revocation
from mutua.foundation.errors import Denied, Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import IssuedChain
from mutua.identity.crl import leaf_facts
from mutua.identity.keys import Malformed
from mutua.identity.renewal import Validity

MOST_PER_POD: Final = 16
"""Unexpired certificates remembered of one pod; a renewal comes at the half-life of the last."""


class Revoked(Denied):
    """Somebody revoked what this workload is."""

    code = "revocation.revoked"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate that is around.

    Attributes:
        pod: Uid of the pod that has it.
        identity: Whom it names.
        serial: Its number.
        validity: Its first and last instant.
    """

    pod: str
    identity: SpiffeId
    serial: int
    validity: Validity

    @property
    def not_after(self) -> datetime:
        """Its last instant, UTC."""
        return self.validity.not_after


class Register:
    """Leaves and revocations of one mesh."""

    def __init__(self) -> None:
        self._leaves: dict[str, dict[int, Leaf]] = {}
        self._revocations: Collection[Revocation] | None = None

    def revise(self, revocations: Collection[Revocation]) -> None:
        """Set what is revoked; before the first time nobody gets a certificate."""
        self._revocations = revocations

    def refusal(self, identity: SpiffeId, pod: str = "", serial: int = 0) -> str:
        """Return why a workload gets no certificate, "" if it does.

        Args:
            identity: Whom the certificate would name.
            pod: Uid of its pod, "" where that is unknown.
            serial: Number of the certificate by which it proved who it is, 0 if it did otherwise.

        Raises:
            Unavailable: It is not known yet what is revoked.
        """
        if self._revocations is None:
            raise Unavailable("it is not known yet what is revoked")
        pod = pod or next((p for p, held in self._leaves.items() if serial in held), "")
        for one in self._revocations:
            if one.forbids(identity, pod) or (serial and one.serial == serial):
                return f"revoked by {one.name}"
        return ""

    def refuses(self, identity: SpiffeId, pod: str) -> bool:
        """Tell whether a pod is known to get no certificate."""
        return self._revocations is not None and bool(self.refusal(identity, pod))

    def note(self, leaf: Leaf) -> None:
        """Take note of a certificate."""
        held = self._leaves.setdefault(leaf.pod, {})
        held[leaf.serial] = leaf
        while len(held) > MOST_PER_POD:
            del held[next(iter(held))]

    def newest(self, pod: str) -> Leaf | None:
        """Return the certificate that a pod got last, None if none is known."""
        held = self._leaves.get(pod)
        return next(reversed(held.values())) if held else None

    def forget(self, now: datetime) -> None:
        """Forget what has expired: nobody accepts it anyway."""
        for pod, held in [*self._leaves.items()]:
            left = {serial: leaf for serial, leaf in held.items() if leaf.not_after > now}
            if left:
                self._leaves[pod] = left
            else:
                del self._leaves[pod]

    def concerned(self, revocation: Revocation) -> Iterator[Leaf]:
        """Yield the certificates that a revocation is about."""
        for held in self._leaves.values():
            for leaf in held.values():
                is_it = leaf.serial == revocation.serial
                if is_it or revocation.forbids(leaf.identity, leaf.pod):
                    yield leaf


class Gate(CertificateIssuer):
    """An issuer that asks the register first, and tells it afterwards."""

    def __init__(
        self,
        issuer: CertificateIssuer,
        register: Register,
        listener: Callable[[Leaf, Leaf | None], None] = lambda _new, _old: None,
    ) -> None:
        """Guard an issuer.

        Args:
            issuer: Who signs.
            register: What is revoked, and what has been issued.
            listener: Told of every new certificate and the one that it replaces.
        """
        self._issuer = issuer
        self._register = register
        self.listener = listener

    @override
    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        old = self._register.newest(workload.uid) or self._found(workload)
        if why := self._register.refusal(workload.identity, workload.uid):
            raise Revoked(
                f"{workload.identity} gets no certificate: {why}",
                hint="mutua kick --list shows what is revoked, mutua kick --undo takes it back",
            )
        issued = await self._issuer.sign(csr_pem, workload)
        serial = int(issued.serial_number, 16)
        new = Leaf(workload.uid, workload.identity, serial, issued.validity)
        self._register.note(new)
        self.listener(new, old)
        return issued

    def _found(self, workload: Workload) -> Leaf | None:
        """Take note of the certificate that an earlier daemon left."""
        if workload.certs_dir is None:
            return None
        try:
            chain = (workload.certs_dir / CHAIN).read_text()
            serial, validity = leaf_facts(chain)
        except (OSError, Malformed, UnicodeDecodeError):
            return None
        leaf = Leaf(workload.uid, workload.identity, serial, validity)
        self._register.note(leaf)
        return leaf
