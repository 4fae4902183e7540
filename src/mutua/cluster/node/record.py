"""What does the node know about one container of a pod?

A `Record` is the node's memory of a container over all its attempts; the states are the three of
Kubernetes' ContainerState.  `RestartRule` is pure and says whether and when to try again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from mutua.foundation.backoff import Backoff

CRASH: Final = Backoff(first=10.0, factor=2.0, ceiling=300.0, jitter=0.0)
"""Between restarts (kubelet: 10 s, doubling, 5 min)."""

START: Final = Backoff(first=1.0, factor=2.0, ceiling=60.0, jitter=0.0)
"""Between tries to start what could not be started: somebody is probably installing it."""

STEADY: Final = 600.0
"""Seconds of running after which earlier crashes are forgiven (kubelet: twice the ceiling)."""


class Role(Enum):
    """Why a pod has a container, which decides when it runs."""

    SIDECAR = "sidecar"
    INIT = "init"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, and going to."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Running since `started_at` (Unix seconds)."""

    started_at: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended.  Times are Unix seconds, None when unknown."""

    exit_code: int
    reason: str
    message: str = ""
    signal: int | None = None
    started_at: float | None = None
    finished_at: float | None = None


State = Waiting | Running | Terminated


@dataclass(slots=True)
class Record:
    """One container of one pod.

    Attributes:
        spec: The container's spec in the pod.
        role: Why it is there.
        uid: Of the pod.
        state: Where it is now.
        attempt: Number of the current attempt, or of the next one while nothing was started.
        fresh: Whether attempt number `attempt` is still to be started.
        last: How the attempt before the current state ended.
        started: Whether the startup probe has succeeded (or there is none).
        ready: Whether the readiness probe says so (or there is none).
        crashes: Ends in a row that came too soon.
        failures: Failed tries to start the current attempt.
        retry_at: Loop time before which nothing is tried.
    """

    spec: Mapping[str, Any]
    role: Role
    uid: str
    state: State = field(default_factory=lambda: Waiting("ContainerCreating"))
    attempt: int = 0
    fresh: bool = True
    last: Terminated | None = None
    started: bool = False
    ready: bool = False
    crashes: int = 0
    failures: int = 0
    retry_at: float = 0.0

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def id(self) -> str:
        """The current attempt's id, as the shim knows it."""
        return f"{self.uid}/{self.name}/{self.attempt}"

    @property
    def is_running(self) -> bool:
        """Tell whether it runs."""
        return isinstance(self.state, Running)

    @property
    def succeeded(self) -> bool:
        """Tell whether it has ended well and stays ended."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0

    def begin(self, started_at: float) -> None:
        """Note that the current attempt runs."""
        self.state = Running(started_at)
        self.fresh = False
        self.failures = 0
        self.started = not self.spec.get("startupProbe")
        self.ready = self.started and not self.spec.get("readinessProbe")

    def end(self, how: Terminated, now: float) -> None:
        """Note that the current attempt has ended.

        Args:
            how: How.
            now: Loop time.
        """
        started, finished = how.started_at, how.finished_at
        long = started is not None and finished is not None and finished - started >= STEADY
        self.crashes = 1 if long else self.crashes + 1
        # The first restart is immediate: most crashes are not loops, and a proxy must be back soon.
        self.retry_at = now if self.crashes == 1 else now + CRASH.delay(self.crashes - 2, draw=0.5)
        self.state = how
        self.ready = self.started = False
        self.fresh = False

    def next_attempt(self) -> None:
        """Move on from an attempt that has ended to the next one, which waits for its time."""
        assert isinstance(self.state, Terminated)  # noqa: S101 - what the name says
        self.last = self.state
        self.attempt += 1
        self.fresh = True
        wait = CRASH.delay(max(0, self.crashes - 2), draw=0.5)
        self.state = (
            Waiting("ContainerCreating")
            if self.crashes <= 1
            else Waiting(
                "CrashLoopBackOff",
                f"back-off {wait:g}s restarting failed container={self.name}",
            )
        )


def restarts(policy: str, role: Role, how: Terminated) -> bool:
    """Tell whether a container that ended like this is started again.

    Args:
        policy: The pod's restartPolicy.
        role: Init containers that succeeded never run again; the sidecar always does.
        how: How it ended.
    """
    if role is Role.SIDECAR:
        return True
    if role is Role.INIT and how.exit_code == 0:
        return False
    return policy == "Always" or (policy == "OnFailure" and how.exit_code != 0)
