"""Who signs: the agent's view of a certificate authority.

On one machine the authority is in the same process (`LocalIssuer`); elsewhere it is behind a
network.  Either way the agent sends a request and says for which workload, and the other side
decides whether the agent may speak for that workload.
"""

from datetime import timedelta
from typing import Protocol

from typing_extensions import override

from mutua.agent.workload import Workload
from mutua.identity.authority import DEFAULT_TTL, Authority, IssuedChain


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
        return self._authority.sign(csr_pem, workload.identity, self._ttl)
