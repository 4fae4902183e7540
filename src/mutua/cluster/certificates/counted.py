"""Signing requests of the pods' agent, counted like those of the certificate service."""

from typing_extensions import override

from mutua.agent.issuer import CertificateIssuer
from mutua.agent.workload import Workload
from mutua.controlplane.certificates.counting import Count, counter_of
from mutua.foundation.errors import MutuaError
from mutua.identity.authority import IssuedChain
from mutua.telemetry.metrics import CSRS, ISSUED


class CountedIssuer(CertificateIssuer):
    """An issuer whose requests are counted."""

    def __init__(self, issuer: CertificateIssuer, count: Count) -> None:
        """Count what `issuer` is asked."""
        self._issuer = issuer
        self._count = count

    @override
    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        self._count(CSRS, "")
        try:
            issued = await self._issuer.sign(csr_pem, workload)
        except MutuaError as failure:
            self._count(*counter_of(failure))
            raise
        self._count(ISSUED, "")
        return issued
