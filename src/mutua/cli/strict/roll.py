"""One wave: write the policy on probation, and see how it ends.

The control plane's guard watches and reverts; this only waits for its word.  So killing the
command leaves nothing half done: the guard still ends the probation, one way or the other.  An
interruption (Ctrl-C, SIGTERM) reverts at once, since nobody waits for the outcome any more.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from lightkube import ApiError, Client

from mutua.api.kinds import kind_of
from mutua.api.object import EVENTS, PEER_AUTHENTICATIONS, Object
from mutua.cli.client import list_objects, resource_class
from mutua.controlplane.strict.change import (
    APPLIED,
    REVERTED,
    Scope,
    on_probation,
    policy_to_change,
    probation_of,
    reverted,
    strict_policy,
)
from mutua.foundation.errors import Unavailable

LOOK: Final = 0.1
"""Seconds between two looks at the policy."""

GRACE: Final = 90.0
"""Seconds beyond the watch until the guard must have spoken: it gives proxies 60."""

EVENT_GRACE: Final = 2.0
"""Seconds that an event may come after what it tells."""

NOT_FOUND, CONFLICT = 404, 409
"""Statuses of the API: it is not there; somebody else wrote in between."""

ATTEMPTS: Final = 5
"""Writes that may lose against others before the command gives up."""


class Outcome(Enum):
    """How a wave ended."""

    HELD = "held"
    REVERTED = "reverted"
    ABANDONED = "abandoned"
    INTERRUPTED = "interrupted"
    NOT_READY = "not ready"
    NOTHING = "nothing to do"
    WAITING = "not started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """One wave and how it ended.

    Attributes:
        title: What became STRICT.
        policy: `namespace/name`, "" when none was written.
        outcome: How it ended.
        why: In words.
        seconds: From writing the policy to the outcome.
    """

    title: str
    policy: str = ""
    outcome: Outcome = Outcome.WAITING
    why: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Roll:
    """Makes one scope STRICT.

    Attributes:
        client: The way to the API.
        watch: Seconds without a refusal after which a wave holds.
        known_only: Only callers that were served before can cause a revert.
        tell: Told what happens, in a person's words.
    """

    client: Client
    watch: float
    known_only: bool = False
    tell: Callable[[str], None] = field(default=lambda _text: None)

    def run(self, scope: Scope, title: str, policies: list[Object]) -> Wave:
        """Write the policy and wait for the outcome.

        Raises:
            KeyboardInterrupt: The caller was interrupted; the wave has been reverted.
        """
        began = time.monotonic()
        before = policy_to_change(policies, scope)
        policy = on_probation(
            strict_policy(policies, scope), before, watch=self.watch, known_only=self.known_only
        )
        name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
        self.tell(f"{title}: {name} says STRICT, watching for {self.watch:g} s")
        stored = self._write(policy, before)
        try:
            outcome, why = self._await_outcome(stored)
        except KeyboardInterrupt:
            self.undo(stored)
            self.tell(f"{title}: interrupted, {name} is as it was before")
            raise
        seconds = time.monotonic() - began
        self.tell(f"{title}: {outcome.value}, {why}")
        return Wave(title=title, policy=name, outcome=outcome, why=why, seconds=round(seconds, 2))

    def undo(self, policy: Object) -> None:
        """Put a policy back to what it was, unless its probation has ended."""
        try:
            self._undo(policy)
        except ApiError as error:
            if error.status.code != CONFLICT:
                raise
            self._undo(policy)  # its probation ended about now, or somebody changed it

    def _undo(self, policy: Object) -> None:
        current = self._read(policy)
        probation = probation_of(current) if current is not None else None
        if current is None or probation is None:
            return
        restored = reverted(current, probation, "the command was interrupted")
        metadata = current["metadata"]
        if restored is None:
            kind = self._kind()
            self.client.delete(kind, metadata["name"], namespace=metadata["namespace"])
        else:
            self._write(restored, current)

    def _await_outcome(self, stored: Object) -> tuple[Outcome, str]:
        deadline = time.monotonic() + self.watch + GRACE
        while time.monotonic() < deadline:
            current = self._read(stored)
            if current is None:
                return Outcome.REVERTED, self._event(stored) or "the policy is gone again"
            notes = current["metadata"].get("annotations") or {}
            if probation_of(current) is None:
                if REVERTED in notes:
                    return Outcome.REVERTED, _without_time(notes[REVERTED])
                if APPLIED in notes and "by hand" not in notes[APPLIED]:
                    return Outcome.HELD, _without_time(notes[APPLIED])
                return Outcome.ABANDONED, "somebody changed the policy by hand"
            time.sleep(LOOK)
        raise Unavailable(
            "the control plane did not say how the wave ended",
            hint="mutua strict plan; kubectl get events -A shows what became of it",
        )

    def _write(self, policy: Object, before: Object | None) -> Object:
        """Store a policy that was made of `before`, unless what that says was changed meanwhile."""
        kind, metadata = self._kind(), policy["metadata"]
        name, where = metadata["name"], {"namespace": metadata["namespace"]}
        if before is None:
            return dict(self.client.create(kind(policy), **where))
        for left in reversed(range(ATTEMPTS)):
            try:
                return dict(self.client.replace(kind(policy), name, **where))
            except ApiError as error:
                if error.status.code != CONFLICT or left == 0:
                    raise
                # Mostly the control plane has written its status.
                current = self._read(before)
                if current is None or _said(current) != _said(before):
                    raise
                version = current["metadata"]["resourceVersion"]
                policy = {**policy, "metadata": {**metadata, "resourceVersion": version}}
        raise AssertionError("unreachable")

    def _read(self, policy: Object) -> Object | None:
        metadata = policy["metadata"]
        try:
            found: Any = self.client.get(
                self._kind(), metadata["name"], namespace=metadata["namespace"]
            )
        except ApiError as error:
            if error.status.code == NOT_FOUND:
                return None
            raise
        return dict(found) if found["metadata"]["uid"] == metadata["uid"] else None

    def _event(self, policy: Object) -> str:
        """Return what the guard told about a policy that is gone."""
        metadata = policy["metadata"]
        deadline = time.monotonic() + EVENT_GRACE
        while time.monotonic() < deadline:
            for event in list_objects(self.client, EVENTS, metadata["namespace"]):
                involved = event.get("involvedObject") or {}
                if involved.get("uid") == metadata["uid"] and event["reason"] == "StrictReverted":
                    return str(event["message"])
            time.sleep(LOOK)
        return ""

    def _kind(self) -> Any:
        return resource_class(kind_of(PEER_AUTHENTICATIONS))


def _said(policy: Object) -> tuple[Any, ...]:
    """Return what its author says, which is all but the status and the store's own notes."""
    metadata = policy["metadata"]
    return policy.get("spec"), metadata.get("labels"), metadata.get("annotations")


def _without_time(note: str) -> str:
    return note.partition(": ")[2] or note
