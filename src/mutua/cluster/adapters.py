"""Ports of the node and the control plane, filled in by the runtime and the token issuer."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path

from typing_extensions import override

from mutua.api.object import PODS, SERVICE_ACCOUNTS, Object
from mutua.cluster.apiserver.token_review import DELETION_GRACE
from mutua.cluster.apiserver.token_review import TokenReviewer as Reviewer
from mutua.cluster.apiserver.tokens import Account
from mutua.cluster.apiserver.tokens import TokenIssuer as Signer
from mutua.cluster.node.ports import Prober, Target, TokenIssuer
from mutua.controlplane.certificates.caller import CertificateReviewer, ReviewedUser, TokenReviewer
from mutua.foundation.clock import Clock, parse_rfc3339
from mutua.foundation.errors import Denied, MutuaError
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.journal import Issuance
from mutua.identity.svid import Svid
from mutua.runtime.network.node import NodeNetwork
from mutua.runtime.network.probe import (
    HttpTarget,
    ProbeResult,
    http_probe,
    node_socket,
    pod_socket,
    tcp_probe,
)
from mutua.runtime.network.socket_owner import OWN, program_at
from mutua.store.port import NotFound, ObjectStore


class NetworkProber(Prober):
    """Probes from the node, or from inside the pod where a sidecar would be in the way."""

    def __init__(self, network: NodeNetwork) -> None:
        self._network = network

    @override
    async def http(self, target: Target) -> str:
        wanted = HttpTarget(
            address=target.host,
            port=target.port,
            path=target.path,
            scheme="https" if target.tls else "http",
            headers=dict(target.headers),
        )
        try:
            result = await http_probe(await self._socket(target), wanted, target.timeout)
        except (MutuaError, OSError) as error:
            result = ProbeResult(success=False, message=str(error))
        return result.message if not result.success else ""

    @override
    async def tcp(self, target: Target) -> str:
        try:
            sock = await self._socket(target)
            result = await tcp_probe(sock, target.host, target.port, target.timeout)
        except (MutuaError, OSError) as error:
            result = ProbeResult(success=False, message=str(error))
        return result.message if not result.success else ""

    async def _socket(self, target: Target) -> socket.socket:
        return await pod_socket(self._network, target.uid) if target.inside else node_socket()


class PodTokens(TokenIssuer):
    """Signs the tokens that pods find in their projected volumes, bound to account and pod."""

    def __init__(self, store: ObjectStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer

    @override
    async def issue(self, pod: Object, audience: str, expiry: int) -> str:
        metadata = pod["metadata"]
        namespace, name = metadata["namespace"], pod["spec"].get("serviceAccountName") or "default"
        account = await self._store.get(SERVICE_ACCOUNTS, namespace, name)
        token = self._signer.issue(
            Account(
                namespace=namespace,
                name=name,
                uid=account["metadata"]["uid"],
                pod=metadata["name"],
                pod_uid=metadata["uid"],
            ),
            audiences=(audience,) if audience else (),
            lifetime=timedelta(seconds=expiry),
        )
        return token.text


class TokenReviews(TokenReviewer):
    """The embedded API server's TokenReview, as the certificate service asks it."""

    def __init__(self, reviewer: Reviewer) -> None:
        self._reviewer = reviewer

    @override
    async def review(self, token: str, audience: str) -> ReviewedUser:
        found = await self._reviewer.review(token, audience)
        return ReviewedUser(str(found.account), found.groups, found.account.pod_uid)


class CertificateReviews(CertificateReviewer):
    """What a certificate was issued to, and whether that still exists.

    It is held to what a token is held to (`TokenReviewer`), as far as the issuance log knows.
    """

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        *,
        issued: Callable[[int], Issuance | None],
        pods: Callable[[str], Iterable[Object]],
    ) -> None:
        """Prepare.

        Args:
            store: Where accounts and pods are.
            clock: Wall time.
            issued: Finds an unexpired certificate by its serial number.
            pods: Returns the pods of a namespace, from memory: where to look a uid up.
        """
        self._store = store
        self._clock = clock
        self._issued = issued
        self._pods = pods

    @override
    async def review(self, svid: Svid) -> str:
        issued = self._issued(int(svid.serial_number, 16))
        await self._require_account(svid.identity, issued)
        if issued is None or not issued.pod:
            return ""
        await self._require_pod(svid.identity.namespace, issued.pod)
        return issued.pod

    async def _require_account(self, identity: SpiffeId, issued: Issuance | None) -> None:
        named = f"service account {identity.namespace}/{identity.service_account}"
        try:
            found = await self._store.get(SERVICE_ACCOUNTS, *identity.account)
        except NotFound:
            raise Denied(f"issued to {named}, which is gone") from None
        if issued and parse_rfc3339(found["metadata"]["creationTimestamp"]) > issued.at:
            raise Denied(f"issued to an earlier {named}")

    async def _require_pod(self, namespace: str, uid: str) -> None:
        names = (p["metadata"]["name"] for p in self._pods(namespace) if _uid(p) == uid)
        try:
            found = await self._store.get(PODS, namespace, next(names, ""))
        except NotFound:
            found = {"metadata": {}}
        if _uid(found) != uid:
            raise Denied(f"issued to pod {uid} in namespace {namespace}, which is gone")
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted and self._clock.now() > parse_rfc3339(deleted) + DELETION_GRACE:
            raise Denied(f"issued to pod {uid}, which is being deleted")


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


class ProgramFinder:
    """Finds out which program called from an address, while its connection is open."""

    def __init__(self, namespaces: Path) -> None:
        """Look in the pods' network namespaces, which are files of this directory."""
        self._namespaces = namespaces

    async def find(self, pod_uid: str, address: str, port: int) -> str:
        """Return its name; see `Keeper`."""
        where = self._namespaces / pod_uid if pod_uid else OWN
        return await asyncio.to_thread(program_at, address, port, where)
