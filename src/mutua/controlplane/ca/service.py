"""Follows what operators want of the CA: Secret `cacerts`, and requests to rotate.

    Secret cacerts ──────────────┐                        ┌─> events, condition PluggedIn
    CertificateAuthority.spec ───┴─> Rotator ──> agents ──┴─> CertificateAuthority.status

A Secret that cannot be used is refused with the name of the file to look at, and whoever signed
before goes on.  One that goes away changes nothing either: its keys are in the key store.

Source: istio-semantics 4.4.  Deviates from Istio: another root needs neither a restart nor
ISTIO_MULTIROOT_MESH; it is distributed, used and only then are others withdrawn.
"""

import asyncio
import base64
import binascii
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from mutua.api.condition import carried_over
from mutua.api.object import CERTIFICATE_AUTHORITIES, SECRETS, Object
from mutua.controlplane.ca.expiry import Deadline, deadlines
from mutua.controlplane.ca.record import NAME, NAMESPACE, blank_object, status_of
from mutua.controlplane.ca.rotator import Adoption, Rotator
from mutua.foundation.backoff import Backoff
from mutua.foundation.clock import Clock, rfc3339
from mutua.foundation.errors import Conflict, MutuaError, Rejected, Unavailable
from mutua.identity.authority import Authority
from mutua.identity.keystore import Source
from mutua.identity.material import NAMES, UnusableMaterial
from mutua.lifecycle.supervisor import Ready
from mutua.store.mirror import Change, Mirror
from mutua.store.port import AlreadyExists, NotFound, ObjectStore

SECRET: Final = "cacerts"  # noqa: S105 - the name of an object

TICK: Final = 0.1
"""Seconds between two looks at the proxies while a rotation is under way."""

REST: Final = 5.0
"""The same while none is."""

PLUGGED_IN: Final = "PluggedIn"
"""The condition that says what became of Secret `cacerts`."""

UP_TO_DATE: Final = "UpToDate"
"""The condition that says whether something of the CA ends soon."""

PATIENCE: Final = 5.0
"""Seconds that something may stand still before it is told."""

ABORT: Final = "who is waited for: mutua ca status; to turn it around: mutua ca rotate abort"

RENEWAL_RETRY: Final = Backoff(first=600.0, ceiling=3600.0)
"""After a renewal that failed or was aborted; seconds.  The fifth of a lifetime that is left is
long.  Source of the ceiling: istio CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL."""

REMEDY: Final = f"put a set with new files into Secret {SECRET} in {NAMESPACE}"

log = logging.getLogger(__name__)

Severity = Literal["Normal", "Warning"]

Report = Callable[[Object, Severity, str, str], None]
"""(object, severity, reason in one word, message) -> an Event."""


class CertificateAuthorityService:
    """Keeps the CA as operators want it, and tells them how it is."""

    def __init__(
        self,
        store: ObjectStore,
        rotator: Rotator,
        authority: Authority,
        clock: Clock,
        report: Report,
    ) -> None:
        """Prepare; nothing happens before `run`."""
        self._store = store
        self._rotator = rotator
        self._authority = authority
        self._clock = clock
        self._report = report
        self._secrets = Mirror(store, SECRETS, NAMESPACE)
        self._objects = Mirror(store, CERTIFICATE_AUTHORITIES, NAMESPACE)
        self._woken = asyncio.Event()
        self._judged = ""  # version of the Secret that was judged last
        self._heeded = ""  # request and whether to abort it, as heeded last
        self._refusal = ""  # why the last request was not begun
        self._plugged_in: tuple[str, str, bool] | None = None
        self._delayed = Delayed()
        self._warned: dict[Deadline, int] = {}  # thresholds that were told
        self._renewals = 0  # since the CA was last up to date
        self._renewal_at = 0.0
        self._renewal_failure = ""

    async def run(self, ready: Ready) -> None:
        """Serve until cancelled; ready once agents know whom to trust."""
        self._rotator.resume()
        async with asyncio.TaskGroup() as group:
            for mirror in (self._secrets, self._objects):
                mirror.subscribe(self._changed)
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
            await self._secrets.wait_synced()
            await self._objects.wait_synced()
            await self._create()
            ready()
            while True:
                await self._round()
                await self._wait()

    def _changed(self, change: Change) -> None:
        if change.object["metadata"]["name"] in {SECRET, NAME}:
            self._woken.set()

    async def _wait(self) -> None:
        pause = TICK if self._rotator.state.rotation else REST
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _round(self) -> None:
        self._heed_request()
        self._heed_secret()
        while self._takes_step():
            moving = self._rotator.state.rotation
            stage = moving.stage.value if moving else "done"
            log.info("CA rotation", extra={"stage": stage})
            if moving is None:
                self._tell("Normal", "RotationDone", "a new CA signs, and only it is trusted")
        self._heed_expiry()
        objection = self._rotator.objection
        if self._delayed.is_due("objection", objection) and objection:
            message = f"a rotation stands still: the next step would harm: {objection}"
            self._tell("Warning", "RotationHalted", f"{message}; {ABORT}")
        await self._write_status()

    def _takes_step(self) -> bool:
        try:
            return self._rotator.step(asyncio.get_running_loop().time())
        except Unavailable as error:  # nothing was changed; the next round tries again
            log.warning("CA rotation stands still", extra={"reason": str(error)})
            return False

    def _heed_request(self) -> None:
        stored = self._objects.get(NAMESPACE, NAME) or {}
        wish = (stored.get("spec") or {}).get("rotation") or {}
        request, aborts = str(wish.get("id", "")), bool(wish.get("abort"))
        self._rotator.ignores_elsewhere = bool(wish.get("ignoreElsewhere"))
        key = f"{request} {aborts}"
        if not request or key == self._heeded:
            return
        told = str((stored.get("status") or {}).get("message", ""))
        if not self._heeded and not aborts and told.startswith(f"request {request}: "):
            # Refused before this start: circumstances may have changed, the answer stays.
            self._heeded, self._refusal = key, told
            return
        state = self._rotator.state
        self._refusal = ""
        try:
            if aborts:
                if state.rotation is not None and not state.rotation.aborted:
                    self._rotator.abort()
                    self._tell("Warning", "RotationAborted", "going back to the former CA")
            elif request != state.last_request:
                self._begin(wish, request)
        except (Rejected, Conflict, Unavailable) as error:
            self._refusal = f"request {request}: {error}"
            self._tell("Warning", "RotationRefused", str(error))
        self._heeded = key

    def _begin(self, wish: Mapping[str, Any], request: str) -> None:
        if wish.get("replace") == "Intermediate":
            self._rotator.replace_intermediate(request)
        elif self._rotator.source is Source.PLUGGED_IN and self._secret() is not None:
            raise Rejected(
                f"the CA is plugged in with Secret {SECRET}",
                hint="replace the Secret by a set with the new root, or delete it first",
            )
        else:
            self._rotator.replace_root(request)
        self._tell("Normal", "RotationBegun", f"replacing the {str(wish['replace']).lower()}")

    def _secret(self) -> Object | None:
        return self._secrets.get(NAMESPACE, SECRET)

    def _heed_secret(self) -> None:
        secret = self._secret()
        if secret is None:
            self._judged = ""
            is_kept = self._rotator.source is Source.PLUGGED_IN
            why = f"Secret {SECRET} is gone; its CA still signs" if is_kept else "no such Secret"
            self._plugged_in = ("NoSecret", why, is_kept)
            return
        version = secret["metadata"]["resourceVersion"]
        if version == self._judged:
            return
        try:
            found = self._rotator.plug_in(_files(secret))
        except Conflict:  # when the present rotation is done
            message = f"waits until the rotation that is under way is over; {ABORT}"
            self._plugged_in = ("Waiting", f"Secret {SECRET} {message}", False)
            if self._delayed.is_due("secret", version):
                self._report(secret, "Warning", "CAWaiting", message)
            return
        except MutuaError as error:
            message = f"{error}. The CA stays as it is."
            self._plugged_in = ("Refused", message, False)
            self._report(secret, "Warning", "CARefused", message)
            log.warning("Secret cacerts refused", extra={"reason": str(error)})
        else:
            self._plugged_in = ("Adopted", f"the CA of Secret {SECRET} is in use", True)
            if found is not Adoption.KNOWN:
                self._report(secret, "Normal", "CAAdopted", found.value)
        self._judged = version

    def _heed_expiry(self) -> None:
        """Replace what ends soon if the mesh made it, else tell who can."""
        now = self._clock.now()
        ends = [one for one in deadlines(self._authority.material) if one.urgency(now)]
        if self._rotator.source is Source.PLUGGED_IN:
            for one in ends:
                if one.urgency(now) > self._warned.get(one, 0):
                    self._tell("Warning", "CAEndsSoon", f"{one.told(now)}; {REMEDY}")
            self._renewal_failure = ""
        else:
            self._renew(ends, now)
        self._warned = {one: one.urgency(now) for one in ends}

    def _renew(self, ends: Sequence[Deadline], now: datetime) -> None:
        if not ends:
            self._renewals, self._renewal_at, self._renewal_failure = 0, 0.0, ""
        monotonic = asyncio.get_running_loop().time()
        if not ends or self._rotator.state.rotation or monotonic < self._renewal_at:
            return
        self._renewal_at = monotonic + RENEWAL_RETRY.delay(self._renewals, draw=0.5)
        self._renewals += 1
        try:
            self._rotator.renew(root=any(one.is_anchor for one in ends))
        except (MutuaError, OSError) as error:  # a full disk, for example
            self._renewal_failure = f"it was not replaced: {error}"
            self._tell("Warning", "RenewalFailed", f"{ends[0].told(now)}; {self._renewal_failure}")
        else:
            self._renewal_failure = ""
            self._tell("Normal", "RenewalBegun", f"{ends[0].told(now)}; replacing it")

    def _up_to_date(self) -> Object:
        now, is_ours = self._clock.now(), self._rotator.source is not Source.PLUGGED_IN
        told = [one.told(now) for one in self._warned]
        if not told:
            return _condition(UP_TO_DATE, "Lasts", "nothing of the CA ends soon", holds=True)
        failure = self._renewal_failure or "it is replaced by itself"
        remedy = failure if is_ours else REMEDY
        reason = "Renewal" if is_ours else "EndsSoon"
        return _condition(UP_TO_DATE, reason, f"{', '.join(told)}; {remedy}", holds=False)

    async def _create(self) -> None:
        if self._objects.get(NAMESPACE, NAME) is None:
            try:
                await self._store.create(CERTIFICATE_AUTHORITIES, blank_object())
            except AlreadyExists:
                return

    async def _write_status(self) -> None:
        stored = self._objects.get(NAMESPACE, NAME)
        if stored is None:
            await self._create()
            return
        state = self._rotator.state
        known = {state.issuing, *state.trusted}
        if state.rotation is not None:
            known |= {state.rotation.origin, state.rotation.target}
        sources = {number: self._rotator.source_of(number).value for number in known}
        status = status_of(
            self._authority, state, sources, self._rotator.waiting_for, self._rotator.objection
        )
        if self._refusal:
            status["message"] = self._refusal
        status["conditions"] = self._conditions(stored.get("status") or {})
        if status == stored.get("status"):
            return
        try:
            written = await self._store.update_status(
                CERTIFICATE_AUTHORITIES, {**stored, "status": status}
            )
            self._objects.put(written)
        except (Conflict, NotFound):
            self._woken.set()
        except Unavailable as error:
            log.warning("status of the CA not written", extra={"reason": str(error)})

    def _conditions(self, status: Mapping[str, Any]) -> list[Object]:
        """Return the conditions: ours, and those that others wrote."""
        before = {one["type"]: one for one in status.get("conditions") or ()}
        ours = [self._up_to_date()]
        if self._plugged_in is not None:
            reason, message, holds = self._plugged_in
            if holds and self._rotator.state.rotation is not None:
                reason, message, holds = "Adopting", f"moving to the CA of Secret {SECRET}", False
            ours.insert(0, _condition(PLUGGED_IN, reason, message, holds=holds))
        now = rfc3339(self._clock.now())
        written = [carried_over(before.pop(one["type"], None), one, now) for one in ours]
        return [*written, *before.values()]

    def _tell(self, severity: Severity, reason: str, message: str) -> None:
        stored = self._objects.get(NAMESPACE, NAME)
        if stored is not None:
            self._report(stored, severity, reason, message)


class Delayed:
    """Tells once of what stands still for a while."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[str, float]] = {}

    def is_due(self, topic: str, state: str) -> bool:
        """Tell whether a topic has been in this state for PATIENCE, the first time that it has."""
        known, since = self._since.get(topic, ("", 0.0))
        now = asyncio.get_running_loop().time()
        if state != known:
            since = now + PATIENCE
        is_due = now >= since
        self._since[topic] = (state, math.inf if is_due else since)
        return is_due


def _condition(kind: str, reason: str, message: str, *, holds: bool) -> Object:
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _files(secret: Object) -> dict[str, str]:
    """Return the PEM texts of the set by name of the file.

    Raises:
        UnusableMaterial: One of them is not text.
    """
    files: dict[str, str] = {}
    for name, value in (secret.get("data") or {}).items():
        if name not in NAMES:
            continue
        try:
            files[name] = base64.b64decode(value or "", validate=True).decode("ascii")
        except UnicodeDecodeError as error:
            raise UnusableMaterial(
                name,
                f"byte {error.start + 1} is no ASCII character, as PEM text must be",
                hint="leave out what is around the BEGIN and END lines",
            ) from error
        except (binascii.Error, TypeError) as error:
            raise UnusableMaterial(name, "its value in the Secret is not base64") from error
    return files
