"""Which moment of a change is this?  Events in, the stage that proxies are to be given out.

No request may fail because one proxy is faster than another.  So a change of policies is made of
epochs, and every proxy may be at any epoch from the last one that it confirmed on:

    1  servers let in what clients will send, besides what clients send now
    2  once every server does, clients go over to the new policies
    3  once no client goes by older ones, servers refuse what nobody sends any more

An epoch that would change nothing for anybody is skipped: PERMISSIVE to STRICT is one epoch.
A further change replaces the target of the one under way; nothing queues.

Invariant, whatever is confirmed, and however late: what a client sends by any epoch that it may be
at is let in by a server at every epoch that it may be at.  The exceptions are named: a proxy that
has not answered for PATIENCE seconds is not waited for, since a compromised pod could otherwise
keep plaintext open for ever by keeping silent, and neither is a server that refuses its listener.

A confirmation counts SETTLE seconds after it came: Envoy's main thread gives it, its workers take
the change up a moment later, and connections that are being opened still go by what was before.

The invariant outlives the control plane: what a `Checkpoint` says of the newest epoch is where the
next one begins, and its proxies may be anywhere in the life before until they confirm.

No I/O: the caller passes the time and the facts.  Prior art: two-phase rollout of Istio's
PERMISSIVE mode, by hand (istio.io, "Mutual TLS Migration").
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from mutua.api.destination import DestinationRule
from mutua.controlplane.checkpoint import Checkpoint, reconciled
from mutua.controlplane.epoch import Epoch, Intent, intent_of, stage_of
from mutua.controlplane.rollout_proxy import PATIENCE, SETTLE, UNKNOWN, Proxy
from mutua.model.workload import Workload
from mutua.xds.compile.modes import Acceptance, may_switch
from mutua.xds.compile.stage import PolicySet

RETURN: Final = 10.0
"""Seconds after the start in which proxies of an earlier life are waited for: they come back within
one (`RECONNECT_CEILING`), and until then may go by anything."""

MOST_EPOCHS: Final = 256
"""Epochs remembered for proxies that are not waited for."""


class Rollout:
    """The state machine: `advance` after every event that asks for it, and when `due` has come.

    Attributes:
        on_checkpoint: Told how far the change is, before an epoch is given out.
    """

    def __init__(self, kept: Checkpoint | None = None) -> None:
        """Begin without a target: `aim` before `advance`.

        Args:
            kept: The last checkpoint of an earlier life, which is gone on from; None to begin anew.
        """
        self.on_checkpoint: Callable[[Checkpoint], None] = lambda _checkpoint: None
        self._checkpoint = kept
        # By which clients of an earlier life may go.
        self._earlier: tuple[Intent, ...] = ()
        self._started = 0.0
        self._target = intent_of(0, (), (), "")
        self._epochs: list[Epoch] = []
        self._proxies: dict[str, Proxy] = {}
        # Who holds up the next step, and who of them has not even confirmed what is needed.
        self._blockers: set[str] = set()
        self._silent: set[str] = set()
        # What `_listens` found during one step, where nothing tells the pods of a namespace apart.
        self._heard: dict[tuple[int, str], bool] = {}

    @property
    def current(self) -> Epoch:
        """The newest epoch."""
        return self._epochs[-1]

    @property
    def target(self) -> Intent:
        """What is to be reached; the newest epoch's, but in the first step of a later life."""
        return self._target

    def aim(self, policies: PolicySet, rules: tuple[DestinationRule, ...], root: str) -> Intent:
        """Set what is to be reached, and return it; the same as before for the same objects.

        Args:
            policies: The PeerAuthentications.
            rules: The DestinationRules.
            root: The root namespace; with another one everything is read anew, in one step.
        """
        old = self._target
        if policies is not old.policies or rules is not old.rules or root != old.root:
            self._target = intent_of(old.number + 1, policies, rules, root)
        return self._target

    def add(self, uid: str) -> None:
        """A proxy is served from now on."""
        self._proxies.setdefault(uid, Proxy())

    def remove(self, uid: str) -> bool:
        """A proxy is gone; returns like `report`."""
        self._proxies.pop(uid, None)
        return self._answered(uid)

    def report(self, uid: str, *, generation: int, refuses: bool, now: float) -> bool:
        """Take note of what a connected proxy has said.

        Args:
            uid: The proxy.
            generation: Up to which it has confirmed everything on its stream, 0 for nothing yet.
            refuses: Whether it refused its inbound listener.
            now: The time.

        Returns:
            Whether the next step has nobody left to wait for, so that `due` may be nearer.
        """
        proxy = self._proxies[uid]
        if not proxy.is_known:
            self._meet(proxy, now)
        proxy.has_confirmed |= generation > 0
        news, proxy.refuses = refuses and not proxy.refuses, refuses
        epoch = self._epoch_of(generation)
        if epoch > proxy.confirmed:
            proxy.confirmed = epoch
            proxy.settling.append((epoch, now + SETTLE))
            if epoch == self.current.number:
                proxy.behind_since = None
            else:
                later = next(one for one in self._epochs if one.number > epoch)
                proxy.behind_since = later.since
            news = True
        return news and self._answered(uid)

    def advance(self, workloads: Mapping[str, Workload], now: float) -> Epoch:
        """Return the epoch that proxies are to be given now.

        Args:
            workloads: The pods of the mesh, by uid.
            now: The time; never decreases.
        """
        for proxy in self._proxies.values():
            proxy.settle(now)
        self._heard.clear()
        if not self._epochs:
            self._started = now
            if self._checkpoint is not None and self._checkpoint.target.root == self._target.root:
                return self._resume(self._checkpoint, workloads)
        if not self._epochs or self.current.target.root != self._target.root:
            self._blockers, self._silent = set(), set()
            self._begin(self._target, self._target, ())
            self.save(now)
            return self.current
        waited = {
            uid: proxy
            for uid, proxy in self._proxies.items()
            if uid in workloads and self._is_waited_for(proxy, now)
        }
        deaf = self._deaf(waited, workloads)
        dial = self.current.dial if deaf else self._target
        oldest = min((one.settled for one in waited.values()), default=self.current.number + 1)
        servers = [workloads[uid] for uid in self._proxies if uid in workloads]
        former = self._former(dial, oldest, servers)
        current = self.current
        if (self._target, dial, former) != (current.target, current.dial, current.former):
            current = self._begin(self._target, dial, former)
        self._forget(now)
        self.save(now)
        self._blockers = {
            uid for uid, one in waited.items() if self._blocks(one, one.settled, workloads[uid])
        }
        self._silent = {
            uid
            for uid in self._blockers
            if self._blocks(waited[uid], waited[uid].confirmed, workloads[uid])
        }
        return current

    def save(self, now: float) -> None:
        """Tell how far the change is, if that is news: proxies have settled, or time has passed."""
        waited = [one for one in self._proxies.values() if self._is_waited_for(one, now)]
        for one in waited:
            one.settle(now)
        current = self.current
        oldest = min((one.settled for one in waited), default=current.number)
        checkpoint = Checkpoint(current.target, current.dial, current.former, self._dials(oldest))
        if checkpoint != self._checkpoint:
            self._checkpoint = checkpoint
            self.on_checkpoint(checkpoint)

    def published(self, generation: int, now: float) -> None:
        """The current epoch is being published, as part of this generation of the mesh."""
        if self.current.generation:
            return
        self.current.generation, self.current.since = generation, now
        for proxy in self._proxies.values():
            if proxy.is_known and proxy.behind_since is None:
                proxy.behind_since = now

    @property
    def due(self) -> float | None:
        """When to advance next although nothing happens, None for never."""
        if self._silent:
            return min(self._deadline(self._proxies[uid]) for uid in self._silent)
        if not self._blockers:
            return None
        times = (self._proxies[uid].settling[-1:] for uid in self._blockers)
        return max((when for time in times for _, when in time), default=self._started)

    def enforces(self, workload: Workload, since: int, now: float) -> bool:
        """Tell whether the proxy of a pod lets in exactly what an intent, or a later one, says.

        Args:
            workload: The pod.
            since: The intent's number.
            now: The time.
        """
        return self._surely(
            workload.uid,
            lambda epoch: epoch.target.number >= since and epoch.is_exact(workload),
            now,
        )

    def dials(self, workload: Workload, since: int, now: float) -> bool:
        """Tell whether the proxy of a pod, as a client, goes by an intent or a later one."""
        return self._surely(workload.uid, lambda epoch: epoch.dial.number >= since, now)

    def waited_for(self, now: float) -> set[str]:
        """Return the proxies whose confirmation counts."""
        return {uid for uid, one in self._proxies.items() if self._is_waited_for(one, now)}

    def next_left_behind(self, now: float) -> float | None:
        """Return when the next silent proxy is no longer waited for, None while all answer."""
        times = [
            one.behind_since + PATIENCE
            for one in self._proxies.values()
            if one.behind_since is not None and not one.is_late(now)
        ]
        return min(times, default=None)

    def deadline(self, uid: str) -> float:
        """Return until when a proxy is waited for."""
        return self._deadline(self._proxies[uid])

    def is_left_behind(self, uid: str, now: float) -> bool:
        """Tell whether the others go on without this proxy."""
        proxy = self._proxies.get(uid)
        return proxy is not None and proxy.is_late(now)

    def _surely(self, uid: str, holds: Callable[[Epoch], bool], now: float) -> bool:
        """Tell whether something holds at every epoch at which a proxy may be."""
        proxy = self._proxies.get(uid)
        if proxy is None or not proxy.has_confirmed:
            return False
        proxy.settle(now)
        if proxy.settled < self._epochs[0].number:
            return False
        return all(holds(epoch) for epoch in self._from(proxy.settled))

    def _resume(self, kept: Checkpoint, workloads: Mapping[str, Workload]) -> Epoch:
        """Begin with the newest epoch of an earlier life: it is news to nobody."""
        self._checkpoint = kept = reconciled(kept, self._target)
        self._earlier = kept.dials
        for uid, workload in workloads.items():
            if workload.accepts_mutual_tls:
                self.add(uid)  # it may be at any epoch of that life, and be added only later
        return self._begin(kept.target, kept.dial, kept.former)

    def _begin(self, target: Intent, dial: Intent, former: tuple[Intent, ...]) -> Epoch:
        number = self.current.number + 1 if self._epochs else 0
        stage = stage_of(target, dial, former)
        acceptance = Acceptance(stage, target.root)
        self._epochs.append(Epoch(number, target, dial, former, stage, acceptance))
        return self.current

    def _meet(self, proxy: Proxy, now: float) -> None:
        proxy.is_known = True
        if now < self._started + RETURN:
            proxy.behind_since = now
        else:
            # A new pod: it had no configuration, and gets the newest.
            proxy.confirmed = proxy.settled = self.current.number

    def _answered(self, uid: str) -> bool:
        if uid not in self._blockers:
            return False
        if uid not in self._proxies:
            self._blockers.discard(uid)
        self._silent.discard(uid)
        return not self._silent

    def _is_waited_for(self, proxy: Proxy, now: float) -> bool:
        if not proxy.is_known:
            return now < self._started + RETURN
        return not proxy.is_late(now)

    def _deadline(self, proxy: Proxy) -> float:
        if not proxy.is_known or proxy.behind_since is None:
            return self._started + RETURN
        return proxy.behind_since + PATIENCE

    def _from(self, number: int) -> Iterator[Epoch]:
        return (epoch for epoch in self._epochs if epoch.number >= number)

    def _epoch_of(self, generation: int) -> int:
        found = UNKNOWN
        for epoch in self._epochs:
            if 0 < epoch.generation <= generation:
                found = epoch.number
        return found

    def _deaf(self, waited: Mapping[str, Proxy], workloads: Mapping[str, Workload]) -> bool:
        """Tell whether some server may not let in yet what clients are to send."""
        if self.current.dial is self._target:
            return False
        return any(
            not self._hears(proxy, proxy.settled, workloads[uid]) for uid, proxy in waited.items()
        )

    def _hears(self, proxy: Proxy, epoch: int, workload: Workload) -> bool:
        if proxy.refuses:
            return True  # it decided for itself
        known = self._heard.get((epoch, workload.namespace))
        return self._listens(epoch, workload) if known is None else known

    def _listens(self, epoch: int, workload: Workload) -> bool:
        """Tell whether a server lets in what clients are to send, from an epoch on."""
        before, after, name = self.current.dial.modes, self._target.modes, workload.namespace
        epochs = list(self._from(epoch))
        found = before.demands(name) == after.demands(name) or (  # else nothing changes there
            epoch >= self._epochs[0].number
            and all(
                may_switch(before, after, workload, one.acceptance.workload(workload))
                for one in epochs
            )
        )
        if (
            before.is_alike(name)
            and after.is_alike(name)
            and all(one.acceptance.is_alike(name) for one in epochs)
        ):
            self._heard[epoch, name] = found
        return found

    def _former(self, dial: Intent, oldest: int, servers: Iterable[Workload]) -> tuple[Intent, ...]:
        """Return by which intents clients may go that some server must still know about."""
        found: list[Intent] = []
        for intent in (dial, *self._dials(oldest)):
            known = any(
                one.policies == intent.policies and one.rules == intent.rules for one in found
            )
            if intent is not self._target and not known and self._matters(intent, servers):
                found.append(intent)
        return tuple(found)

    def _dials(self, oldest: int) -> tuple[Intent, ...]:
        """Return by which intents clients may go when all are at an epoch or later."""
        earlier = self._earlier if oldest < self._epochs[0].number else ()
        found = (*(epoch.dial for epoch in self._from(oldest)), *earlier)
        return tuple({id(one): one for one in found}.values())

    def _matters(self, intent: Intent, servers: Iterable[Workload]) -> bool:
        stage = stage_of(self._target, intent, (intent,))
        acceptance = Acceptance(stage, self._target.root)
        target = self._target.modes
        done: set[str] = set()
        for one in servers:
            name = one.namespace
            if name in done:
                continue
            nothing_changes = intent.modes.demands(name) == target.demands(name)
            if not nothing_changes and acceptance.workload(one) != target.workload(one):
                return True
            if nothing_changes or acceptance.is_alike(name):
                done.add(name)
        return False

    def _blocks(self, proxy: Proxy, epoch: int, workload: Workload) -> bool:
        """Tell whether a proxy that is at an epoch or later holds up the next step."""
        if self.current.dial is not self._target:
            return not self._hears(proxy, epoch, workload)
        if not self.current.former:
            return False
        return (
            any(one.dial is not self.current.dial for one in self._from(epoch))
            or epoch < self._epochs[0].number
        )

    def _forget(self, now: float) -> None:
        """Drop the epochs at which nobody can be any more."""
        proxies = self._proxies.values()
        there = (one.settled for one in proxies if one.is_known or self._is_waited_for(one, now))
        oldest = min(there, default=self.current.number)
        if oldest >= self._epochs[0].number:
            self._earlier = ()
        kept = list(self._from(oldest))
        self._epochs = kept[-MOST_EPOCHS:]
        self._heard.clear()
