"""One type of resource on one stream: what the peer wants, has, and has been sent.

The values that `session` works with, and the part of its state that belongs to a single type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

from mutua.api.object import Key
from mutua.foundation.errors import Denied
from mutua.xds.resource import Resource, ResourceSet, is_same_but_for_files, reads_files

WILDCARD: Final = "*"

MAX_NAMES: Final = 100_000
"""Names one stream may subscribe to per type; far above the largest published mesh."""


class SyncState(Enum):
    """How what a peer has of one type relates to what it should have.

    The names are Envoy's.  Source: envoy.service.status.v3.ConfigStatus.

    SYNCED    it has confirmed everything
    NOT_SENT  it asked, and nothing has been sent yet
    STALE     something has been sent, or is about to be, and is not confirmed yet
    ERROR     it refused something, and does not have it
    """

    SYNCED = "SYNCED"
    NOT_SENT = "NOT_SENT"
    STALE = "STALE"
    ERROR = "ERROR"


class ProtocolViolation(Denied):
    """The peer asked for more than a proxy may."""

    code = "xds.protocol_violation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One DeltaDiscoveryRequest, without the node.

    Attributes:
        type_url: What it is about.
        subscribe: Names to add; "*" and, on a first request, none mean all.
        unsubscribe: Names to drop.
        versions: What the peer has already (first request of a stream only).
        nonce: The response this acknowledges or refuses, "" when neither.
        error: Why it was refused, "" when it was not.
    """

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One DeltaDiscoveryResponse."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A resource that the proxy refused and that is held back.

    Attributes:
        type_url: Its type.
        name: Its name.
        version: The refused version.
        message: The proxy's reason.
        origins: The policies that shaped it.
        for_files: The proxy has the same, read from other files: nothing else is at fault.
    """

    type_url: str
    name: str
    version: str
    message: str
    origins: tuple[Key, ...] = ()
    for_files: bool = False


@dataclass(frozen=True, slots=True)
class InFlight:
    """A response that the peer has neither confirmed nor refused yet.

    Attributes:
        nonce: Its nonce.
        resources: What it brought.
        removed: What it took away.
        generation: The generation that its confirmation confirms.
    """

    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    generation: int


@dataclass(slots=True)
class Subscription:
    """One type on one stream.

    Attributes:
        wildcard: Everything of the type is wanted.
        names: Names wanted one by one.
        known: What the peer said it had, until the first target arrives; None afterwards.
        dirty: Names whose state at the peer differs, or may differ, from the target (ordered).
        answer_due: The peer waits for a response even if there is nothing to say.
        in_flight: The response not yet answered.
        batch: Most resources per response, lowered while a refusal is being located.
        read: Versions, by name, that the peer has of what it reads from files.
        rejected: Held back, by name.
        acknowledged: Generation up to which the peer has confirmed everything.
    """

    wildcard: bool
    known: Mapping[str, str] | None
    names: set[str] = field(default_factory=set)
    dirty: dict[str, None] = field(default_factory=dict)
    answer_due: bool = False
    in_flight: InFlight | None = None
    batch: int = MAX_NAMES
    read: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, Rejection] = field(default_factory=dict)
    acknowledged: int = 0

    @property
    def is_due(self) -> bool:
        """Whether there may be something to send, and nothing is waiting for an answer."""
        return self.in_flight is None and bool(self.dirty or self.answer_due)

    @property
    def state(self) -> SyncState:
        """How far the peer is."""
        if self.rejected:
            return SyncState.ERROR
        if self.in_flight is not None or self.is_due:
            return SyncState.STALE
        return SyncState.SYNCED if self.acknowledged else SyncState.NOT_SENT

    def wants(self, name: str) -> bool:
        """Tell whether the peer subscribed to this name."""
        return self.wildcard or name in self.names

    def mark(self, names: Iterable[str]) -> None:
        """Note that the peer may differ from the target in these names."""
        self.dirty.update(dict.fromkeys(names))

    def subscribe(self, names: Iterable[str]) -> None:
        """Want more names; each is owed an answer, known or not."""
        wanted = [name for name in names if name != WILDCARD]
        self.names.update(wanted)
        self.mark(wanted)
        if len(self.names) > MAX_NAMES:
            raise ProtocolViolation(f"more than {MAX_NAMES} names of one type on one stream")

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Want fewer names, and forget about them."""
        for name in names:
            if name == WILDCARD:
                self.wildcard = False
            self.names.discard(name)
        for name in [name for name in (*self.dirty, *self.rejected) if not self.wants(name)]:
            self.dirty.pop(name, None)
            self.rejected.pop(name, None)

    def reveal(self, target: ResourceSet) -> None:
        """Compare the first target with what the peer said it had."""
        known, self.known = self.known or {}, None
        self.read = {name: version for name, version in known.items() if reads_files(version)}
        if self.wildcard:
            self.mark(known)
            self.mark(target)
            self.answer_due = not known
        for name, version in known.items():
            if (resource := target.get(name)) is not None and resource.version == version:
                self.dirty.pop(name, None)

    def confirm(self, sent: InFlight) -> None:
        """Note that the peer has taken a response up."""
        self.acknowledged = max(self.acknowledged, sent.generation)
        self.read |= {one.name: one.version for one in sent.resources if reads_files(one.version)}
        for name in sent.removed:
            self.read.pop(name, None)

    def reject(self, refused: Resource, type_url: str, message: str) -> Rejection:
        """Note that the peer has refused a resource, and keeps what it has of it."""
        before = self.read.get(refused.name)
        self.rejected[refused.name] = rejection = Rejection(
            type_url=type_url,
            name=refused.name,
            version=refused.version,
            message=message,
            origins=refused.origins,
            for_files=before is not None and is_same_but_for_files(before, refused.version),
        )
        return rejection

    def settle(self, generation: int) -> None:
        """Note how far the peer is, now that the dirty names are up to date."""
        if self.dirty or self.answer_due or self.known is not None:
            return
        if self.in_flight is None:
            self.acknowledged, self.batch = generation, MAX_NAMES
        else:
            self.in_flight = replace(self.in_flight, generation=generation)
