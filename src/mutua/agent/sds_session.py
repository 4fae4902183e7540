"""What one StreamSecrets stream must send next: the state-of-the-world protocol, for secrets.

mutua's own proxies use the delta variant (mutua.xds.session).  This one is for everybody else who
speaks SDS as Istio's agent does: hand-written Envoy configurations, SPIFFE tools.  A response
carries every secret that was asked for and exists; there is a new one when the names change or
the secrets do.  A NACK changes nothing: the peer keeps what it has until there is something new.

Source: envoyproxy.io, "xDS REST and gRPC protocol", state of the world.
"""

from typing import Any, Final

from mutua.agent.sds_resources import SECRET
from mutua.foundation.errors import Denied
from mutua.xds.proto import DiscoveryResponse
from mutua.xds.resource import ResourceSet

MAX_NAMES: Final = 64
"""Names one request may list; Envoy lists one."""


class UnexpectedRequest(Denied):
    """The peer asked a secret service for something else, or for too much."""

    code = "agent.unexpected_sds_request"


class SecretSession:
    """One stream.  Not thread-safe; no method waits."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._secrets = ResourceSet()
        self._sent: dict[str, str] | None = None
        self._responses = 0

    def update(self, secrets: ResourceSet) -> None:
        """Set the secrets that exist."""
        self._secrets = secrets

    def receive(self, request: Any) -> None:
        """Take one DiscoveryRequest into account.

        Raises:
            UnexpectedRequest: See there; end the stream.
        """
        if request.type_url not in {"", SECRET}:
            raise UnexpectedRequest(f"not a secret: {request.type_url}")
        if len(request.resource_names) > MAX_NAMES:
            raise UnexpectedRequest(f"more than {MAX_NAMES} names")
        self._names = tuple(request.resource_names)

    def next_response(self) -> Any | None:
        """Return the DiscoveryResponse to send now, or None; it counts as sent."""
        wanted = [self._secrets[name] for name in self._names if name in self._secrets]
        versions = {secret.name: secret.version for secret in wanted}
        if not wanted or versions == self._sent:
            return None
        self._sent = versions
        self._responses += 1
        response = DiscoveryResponse(
            version_info="/".join(versions.values()), type_url=SECRET, nonce=str(self._responses)
        )
        for secret in wanted:
            response.resources.add(type_url=SECRET, value=secret.body)
        return response
