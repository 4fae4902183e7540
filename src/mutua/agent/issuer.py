"""Who signs: the agent's view of a certificate authority.

On one machine the authority is in the same process (`LocalIssuer`); elsewhere it is behind a
network.  Either way the agent sends a request and says for which workload, and the other side
decides whether the agent may speak for that workload.
"""

import asyncio
from datetime import timedelta
from typing import Final, Protocol

from typing_extensions import override

from mutua.agent.workload import Workload
from mutua.foundation.errors import Unavailable
from mutua.identity.authority import DEFAULT_TTL, Authority, IssuedChain

PATIENCE: Final = 2.0
"""Seconds that a request waits for a control plane that restarts; it takes well below one."""


class CertificateIssuer(Protocol):
    """A certificate authority, reachable."""

    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        """Have a request certified for a workload.

        Raises:
            MutuaError: It was not; the agent keeps what it has and asks again with backoff.
        """
        ...


class LocalIssuer(CertificateIssuer):
    """The authority of this process.

    The workload's identity is authenticated by construction: whoever calls `Agent.add` read it
    from the pod's stored object, and hands the result to that pod's own socket and directory.
    """

    def __init__(self, authority: Authority, ttl: timedelta = DEFAULT_TTL) -> None:
        self._authority = authority
        self._ttl = ttl

    @override
    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        return self._authority.sign(csr_pem, workload.identity, self._ttl, pod=workload.uid)


class ReplaceableIssuer(CertificateIssuer):
    """Whoever signs at present; there are times when nobody does.

    A request waits a little, so that a restart of the control plane costs nobody a retry.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._issuer: CertificateIssuer | None = None
        self._present = asyncio.Event()

    def put(self, issuer: CertificateIssuer | None) -> None:
        """Let `issuer` sign from now on; None for nobody."""
        self._issuer = issuer
        if issuer is None:
            self._present.clear()
        else:
            self._present.set()

    @override
    async def sign(self, csr_pem: str, workload: Workload) -> IssuedChain:
        """Have a request certified; see the port.

        Raises:
            Unavailable: Nobody signs, and nobody came.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._present.wait()
        except TimeoutError:
            raise Unavailable(
                "no certificate authority: the control plane does not run",
                hint="kubectl get pods -n istio-system shows why",
            ) from None
        issuer = self._issuer
        assert issuer is not None, "it is present"  # noqa: S101
        return await issuer.sign(csr_pem, workload)
