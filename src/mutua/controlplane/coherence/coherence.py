"""The control plane doubts itself: would what it issues now be accepted by what proxies hold now?

    every INTERVAL, and after every change of CA or bundle
        canary ── certificate of istio-system/istiod, signed by the CA in use
           ├─ handshake in memory under every bundle that some proxy has confirmed
           └─ handshake with the Envoys of a few random pods, where mutual TLS is on

Whoever would refuse is named: in the log, as an event, and in `verdict`.  Pods that cannot be
reached are no evidence.  A pod has to refuse twice in a row, because it may be taking up the very
change that woke us.

Before a rotation takes a step it asks as well (`objection`), of the CA that shall sign.

The canary is kept for FRESH, so that checks do not flood the issuance log; a change of the CA
makes a new one at once.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from mutua.api.security import MutualTlsMode
from mutua.controlplane.coherence.handshake import (
    Refused,
    client_context,
    handshake_in_memory,
    handshake_with,
)
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError, Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.bundle import TrustBundle
from mutua.identity.csr import new_request
from mutua.identity.material import SigningMaterial
from mutua.identity.x509 import Credential
from mutua.lifecycle.supervisor import Ready
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.policy.peer_authentication import Subject, effective_mode

INTERVAL: Final = 30.0
"""Seconds between two checks."""

STALE: Final = timedelta(seconds=3)
"""Age of a verdict that a rotation does not wait for any longer."""

FRESH: Final = timedelta(minutes=5)
"""How long one canary is used: 288 entries a day in the issuance log."""

CANARY_TTL: Final = timedelta(minutes=15)
"""Its lifetime; three times its use."""

SAMPLED: Final = 4
"""Pods met in one check, all at the same time."""

UNUSED_PORT: Final = 1
"""tcpmux, which nobody runs: a pod without HTTP ports is met there, so that none of its programs
sees a connection that says nothing.  Capture takes it to the sidecar like any other port."""

log = logging.getLogger(__name__)

Severity = Literal["Normal", "Warning"]

Record = Callable[[str, Severity, str, str], None]
"""(uid of a pod, "" for the CA; severity; reason; message): notes an event."""

INCOHERENT, COHERENT = "TrustIncoherent", "TrustCoherent"


@dataclass(frozen=True, slots=True)
class Holder:
    """What one proxy verifies with, as it has confirmed.

    Attributes:
        pod: Uid of its pod.
        identity: Whom its certificate names.
        bundle: Its trust bundle.
    """

    pod: str
    identity: SpiffeId
    bundle: TrustBundle


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    Attributes:
        at: When; None before the first.
        problems: What is wrong, by pod uid; "" stands for the CA itself.
        bundles: Distinct bundles that were checked.
        met: Pods whose Envoys took part.
    """

    at: datetime | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    bundles: int = 0
    met: int = 0

    @property
    def is_coherent(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def message(self) -> str:
        """What is wrong, for people."""
        if self.is_coherent:
            how_many = "the bundle" if self.bundles == 1 else f"all {self.bundles} bundles"
            proxies = f", and by {self.met} proxies that were asked" if self.met else ""
            return f"a fresh certificate is accepted under {how_many} in use{proxies}"
        worst = next(iter(self.problems.values()))
        return f"{worst} ({len(self.problems)} affected)"


Publish = Callable[[Verdict], Awaitable[None]]


class Coherence:
    """Checks one mesh.

    Attributes:
        verdict: Of the latest check.
    """

    def __init__(
        self,
        authority: Authority,
        holders: Callable[[], Sequence[Holder]],
        mesh: Callable[[], MeshSnapshot | None],
        record: Record,
        publish: Publish,
        *,
        clock: Clock,
        rng: random.Random,
        bundle: Callable[[], TrustBundle] | None = None,
    ) -> None:
        """Prepare; nothing is checked before `run`.

        Args:
            authority: Who signs.
            holders: What each proxy has confirmed; without those that have confirmed nothing.
            mesh: The present state of the mesh.
            record: Notes events.
            publish: Told of every verdict.
            clock: Wall time.
            rng: Chooses pods.
            bundle: Returns what proxies are told to trust; None for the authority's own bundle.
        """
        self.verdict = Verdict()
        self._authority = authority
        self._holders = holders
        self._mesh = mesh
        self._record = record
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._bundle = bundle or (lambda: authority.bundle)
        self._canaries: dict[_Key, _Canary] = {}
        self._suspects: set[str] = set()
        self._woken = asyncio.Event()

    async def run(self, ready: Ready) -> None:
        """Check until cancelled."""
        self._authority.listen(self._woken.set)
        ready()
        while True:
            await self._publish(await self.check())
            try:
                async with asyncio.timeout(INTERVAL):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    async def check(self) -> Verdict:
        """Check once, and tell what has changed."""
        holders = self._holders()
        present = self._bundle()
        try:
            canary = self._fresh_canary(self._authority)
        except MutuaError as error:
            problems = {"": f"no certificate can be issued: {error}"}
            return self._tell(Verdict(self._clock.now(), problems))
        bundles = dict.fromkeys([present, *(one.bundle for one in holders)])
        refusals = {bundle: self._refusal(canary, bundle) for bundle in bundles}
        problems = {one.pod: why for one in holders if (why := refusals[one.bundle])}
        if why := refusals[present]:
            problems[""] = why
            return self._tell(Verdict(self._clock.now(), problems, len(bundles)))
        answers = await self._meet(canary, [one for one in holders if one.pod not in problems])
        problems |= self._confirmed_suspicions(answers)
        met = sum(one is not None for one in answers.values())
        return self._tell(Verdict(self._clock.now(), problems, len(bundles), met))

    def objection(self, material: SigningMaterial) -> str:
        """Return why some proxy would refuse what a CA issues, "" if none is known to.

        Args:
            material: Of the CA; it need not sign yet.
        """
        bundles = dict.fromkeys([self._bundle(), *(one.bundle for one in self._holders())])
        try:
            canary = self._fresh_canary(self._authority.with_material(material))
        except MutuaError as error:
            return f"no certificate can be issued: {error}"
        for bundle in bundles:
            if why := self._refusal(canary, bundle):
                return why
        is_signing = material.fingerprint == self._authority.material.fingerprint
        if self.verdict.is_coherent or not is_signing:
            return ""
        if self.verdict.at is None or abs(self._clock.now() - self.verdict.at) > STALE:
            self._woken.set()  # somebody waits for the next one
        return self.verdict.message

    def _fresh_canary(self, authority: Authority) -> Credential:
        now = self._clock.now()
        identity = SpiffeId(authority.trust_domain, "istio-system", "istiod")
        key = (identity, authority.material.fingerprint)
        self._canaries = {k: one for k, one in self._canaries.items() if one.is_fresh(now)}
        if key in self._canaries:
            return self._canaries[key].credential
        request = new_request(identity)
        issued = authority.sign(
            request.csr_pem, identity, CANARY_TTL, authenticated="coherence check"
        )
        chain = "".join((issued.leaf, *issued.intermediates))
        credential = Credential(chain_pem=chain, key=request.key)
        self._canaries[key] = _Canary(now, credential)
        return credential

    def _refusal(self, canary: Credential, bundle: TrustBundle) -> str:
        """Return why the canary is not accepted under a bundle, "" when it is."""
        identity = f"spiffe://{self._authority.trust_domain}/ns/istio-system/sa/istiod"
        try:
            seen = handshake_in_memory(canary, bundle)
        except Refused as error:
            return f"a freshly issued certificate is not accepted under the trust bundle: {error}"
        return "" if seen.uris == (identity,) else f"the canary names {seen.uris}, not {identity}"

    async def _meet(self, canary: Credential, holders: Sequence[Holder]) -> dict[str, str | None]:
        """Return by pod why it and the canary do not accept each other, "" when they do.

        None stands for a pod that could not be met.
        """
        mesh = self._mesh()
        if mesh is None:
            return {}
        places = [(one, place) for one in holders if (place := _meeting_place(mesh, one.pod))]
        suspects = [pair for pair in places if pair[0].pod in self._suspects]
        others = [pair for pair in places if pair[0].pod not in self._suspects]
        self._rng.shuffle(others)
        chosen = (suspects + others)[:SAMPLED]
        if not chosen:
            return {}
        context = client_context(canary, self._bundle())

        async def one(holder: Holder, address: str, port: int) -> str | None:
            try:
                seen = await handshake_with(address, port, context)
            except Refused as error:
                return f"the proxy at {address}:{port}: {error}"
            except Unavailable as error:
                log.debug("pod not met", extra={"pod": holder.pod, "reason": str(error)})
                return None
            if seen.uris != (str(holder.identity),):
                return f"the proxy at {address}:{port} is {seen.uris}, not {holder.identity}"
            return ""

        found = await asyncio.gather(*(one(holder, *place) for holder, place in chosen))
        return {holder.pod: why for (holder, _), why in zip(chosen, found, strict=True)}

    def _confirmed_suspicions(self, answers: Mapping[str, str | None]) -> dict[str, str]:
        """Return the refusals of pods that had refused the last time too."""
        refusing = {pod: why for pod, why in answers.items() if why}
        confirmed = {pod: why for pod, why in refusing.items() if pod in self._suspects}
        self._suspects = set(refusing)
        return confirmed

    def _tell(self, verdict: Verdict) -> Verdict:
        before, self.verdict = self.verdict, verdict
        for pod, why in verdict.problems.items():
            if before.problems.get(pod) != why:
                log.error("certificates and trust do not fit", extra={"pod": pod, "reason": why})
                self._record(pod, "Warning", INCOHERENT, why)
        for pod in before.problems.keys() - verdict.problems.keys():
            self._record(pod, "Normal", COHERENT, "certificates and trust fit again")
        return verdict


_Key = tuple[SpiffeId, str]
"""For whom a canary is, and the fingerprint of the CA that made it."""


@dataclass(frozen=True, slots=True)
class _Canary:
    """A credential, and when it was made."""

    at: datetime
    credential: Credential

    def is_fresh(self, now: datetime) -> bool:
        return timedelta() <= now - self.at < FRESH


def _meeting_place(mesh: MeshSnapshot, pod: str) -> tuple[str, int] | None:
    """Return where a pod's sidecar is met over mutual TLS; None where it is not."""
    server = mesh.workloads.get(pod)
    if server is None or not server.address or not server.ready:
        return None
    exposed = mesh.inbound_ports.get(pod, ())
    ports = [*(one.number for one in exposed if one.protocol.is_http), UNUSED_PORT]
    return next(((server.address, port) for port in ports if _is_mutual(mesh, server, port)), None)


def _is_mutual(mesh: MeshSnapshot, server: Workload, port: int) -> bool:
    subject = Subject(namespace=server.namespace, labels=server.labels, port=port)
    policies, root = mesh.peer_authentications, mesh.settings.root_namespace
    return effective_mode(policies, subject, root_namespace=root).mode is not MutualTlsMode.DISABLE
