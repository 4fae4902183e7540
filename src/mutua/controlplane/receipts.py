"""What have proxies made of each policy and rule?  The control plane's answers for their status."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mutua.api.object import DESTINATION_RULES, Key, Object
from mutua.controlplane.enforcement import Answer, Held
from mutua.controlplane.quarantine import Quarantine, Refusal
from mutua.controlplane.rollout import Rollout
from mutua.model.workload import Workload
from mutua.xds.feed import Feed
from mutua.xds.resource import is_shaped_by


@dataclass(frozen=True, slots=True)
class _Seen:
    """A state of an object that is part of what users want.

    Attributes:
        state: The object's uid and generation.
        intent: Number of the first intent that has it.
    """

    state: tuple[str, int]
    intent: int


class Receipts:
    """Answers from the roll-out, the quarantine and the feeds."""

    def __init__(
        self,
        rollout: Rollout,
        quarantine: Quarantine,
        feeds: Mapping[str, Feed],
        now: Callable[[], float],
    ) -> None:
        self._rollout = rollout
        self._quarantine = quarantine
        self._feeds = feeds
        self._now = now
        self._seen: dict[Key, _Seen] = {}

    def note(self, objects: Mapping[Key, Object]) -> None:
        """Remember with which intent each state of an object came.

        Args:
            objects: All policies and rules of which the newest intent was made.
        """
        number = self._rollout.target.number
        before, self._seen = self._seen, {}
        for key, obj in objects.items():
            known, state = before.get(key), state_of(obj)
            is_same = known is not None and known.state == state
            self._seen[key] = known if known and is_same else _Seen(state, number)

    def has(self, key: Key, obj: Object) -> bool:
        """Tell whether this state of an object is part of the newest intent."""
        seen = self._seen.get(key)
        return seen is not None and seen.state == state_of(obj)

    def is_given(self, key: Key) -> bool:
        """Tell whether clients are told to go by the present state of a rule."""
        return self._rollout.current.dial.number >= self._seen[key].intent

    def answer(self, key: Key, workload: Workload) -> Answer | None:
        """Return what the proxy of a pod has made of an object; None for a pod without a proxy."""
        if workload.uid not in self._feeds:
            return None
        now, intent = self._now(), self._seen[key].intent
        has = self._rollout.dials if key.resource == DESTINATION_RULES else self._rollout.enforces
        return Answer(
            workload,
            in_force=has(workload, intent, now),
            refusal=self._refusal(key, workload.uid),
            late=self._rollout.is_left_behind(workload.uid, now),
        )

    def has_proxy(self, workload: Workload) -> bool:
        """Tell whether a pod has a proxy."""
        return workload.uid in self._feeds

    def follows(self, key: Key, workload: Workload) -> bool:
        """Tell whether an object shaped what the proxy of a pod is given."""
        feed = self._feeds.get(workload.uid)
        return feed is not None and is_shaped_by(feed.resources, key)

    def held(self, key: Key) -> Held | None:
        """Tell how an object's present state is held back, if it is."""
        case = self._quarantine.case(key)
        if case is None or not case.held or not case.refusals:
            return None
        first = next(iter(case.refusals.values()))
        return Held(
            first,
            others=len(case.refusals) - 1,
            concerned=len(case.concerned),
            has_former=case.good is not None,
        )

    def _refusal(self, key: Key, uid: str) -> Refusal | None:
        case = self._quarantine.case(key)
        return case.refusals.get(uid) if case is not None else None


def state_of(obj: Object) -> tuple[str, int]:
    """Return what differs once an object was replaced or its spec changed: uid and generation."""
    metadata = obj["metadata"]
    return metadata.get("uid", ""), metadata.get("generation", 0)
