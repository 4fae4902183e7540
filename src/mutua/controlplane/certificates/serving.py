"""When does the certificate server need new TLS settings, and what are they?"""

import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from mutua.controlplane.certificates.tls import SERVER_NAMES, server_context
from mutua.foundation.clock import Clock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.x509 import Credential

LIFETIME: Final = timedelta(days=365)
"""Of the server's certificate; the signer's own end shortens it.  Source: istiod's DNS certificate,
which lives as long as citadel's maximum."""

RENEWED_AT: Final = 0.5
"""Share of its life after which it is replaced, as of workload certificates."""


class ServingCertificate:
    """The server's certificate, and the bundle that its clients' are verified against."""

    def __init__(
        self,
        authority: Authority,
        clock: Clock,
        bundle: Callable[[], TrustBundle] | None = None,
    ) -> None:
        """Have certificates signed by an authority.

        Args:
            authority: Signs.
            clock: Wall time.
            bundle: Returns what clients are verified against; None for the authority's own.
        """
        self._authority = authority
        self._clock = clock
        self._wanted = bundle or (lambda: authority.bundle)
        self._bundle: TrustBundle | None = None
        self._server: Credential | None = None
        self._is_outdated = True
        authority.listen(self._outdated)

    def renewed(self) -> ssl.SSLContext | None:
        """Return new TLS settings when it is time for them, else None.

        Raises:
            MutuaError: The authority cannot sign now; what is in use stays.
        """
        server, bundle = self._server, self._wanted()
        if server is None or self._is_due(server):
            identity = SpiffeId(self._authority.trust_domain, "istio-system", "istiod")
            server = self._authority.server_credential(identity, SERVER_NAMES, LIFETIME)
        elif bundle == self._bundle:
            return None
        context = server_context(server, bundle)
        self._server, self._bundle, self._is_outdated = server, bundle, False
        return context

    def _outdated(self) -> None:
        self._is_outdated = True

    def _is_due(self, server: Credential) -> bool:
        if self._is_outdated:
            return True
        first, last = server.not_before, server.not_after
        return not first <= self._clock.now() < first + (last - first) * RENEWED_AT
