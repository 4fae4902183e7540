"""What one proxy should have, and how far it is: where the control plane meets the streams.

The control plane publishes; every open stream of that proxy is told at once and works out the
difference by itself.  Nothing is queued here: a stream that is slow sees the latest state when
it gets to it.  The agent serves secrets through the same class.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from mutua.api.object import Key
from mutua.xds.resource import ProxyResources
from mutua.xds.session import DeltaSession
from mutua.xds.subscription import Rejection, SyncState

MAX_STREAMS: Final = 2
"""Streams of one proxy served at a time: the present one, and the one that is about to be found
dead while Envoy reconnects.  A third ends the oldest."""


class Progress(NamedTuple):
    """How far a proxy is.

    Attributes:
        connected: A stream is open.
        acknowledged: Generation up to which it has confirmed everything; 0 is none.
        rejections: What it refused and does not have.

    Without a stream, the last two are those of the last one.
    """

    connected: bool = False
    acknowledged: int = 0
    rejections: tuple[Rejection, ...] = ()

    @property
    def origins(self) -> frozenset[Key]:
        """What shaped the resources that it refuses."""
        return frozenset(key for one in self.rejections for key in one.origins)


@dataclass(slots=True, eq=False)
class Attachment:
    """One stream's place at a feed.

    Attributes:
        session: The stream's state, updated by the feed.
        wake: Called when the session may have something to send.
        end: Called when the stream has to give way to a newer one.
    """

    session: DeltaSession
    wake: Callable[[], None]
    end: Callable[[], None]


@dataclass(slots=True)
class Feed:
    """The desired state of one proxy.

    Attributes:
        name: The proxy, for people: `pod.namespace`.
        on_progress: Called whenever `progress` changed.
        on_rejection: Called once per refused resource.
        max_streams: Streams served at a time; one more ends the oldest.
        as_of: The generation of the mesh for which its resources were last worked out; 0 before
            the first.  Beyond `generation` when what came since does not concern the proxy.
    """

    name: str
    on_progress: Callable[[Progress], None] = lambda _progress: None
    on_rejection: Callable[[Rejection], None] = lambda _rejection: None
    max_streams: int = MAX_STREAMS
    progress: Progress = field(default_factory=Progress)
    as_of: int = 0
    _resources: ProxyResources = field(default_factory=dict)
    _generation: int = 0
    _streams: list[Attachment] = field(default_factory=list)

    def publish(self, resources: ProxyResources, generation: int) -> None:
        """Set what the proxy should have.

        Args:
            resources: Everything, for every type.
            generation: Positive, never decreases.
        """
        self._resources, self._generation, self.as_of = resources, generation, generation
        for stream in self._streams:
            stream.session.update(resources, generation)
            stream.wake()
        self.report()

    @property
    def resources(self) -> ProxyResources:
        """What was published last."""
        return self._resources

    @property
    def generation(self) -> int:
        """The generation published last, 0 before the first."""
        return self._generation

    @property
    def confirmed_as_of(self) -> int:
        """The generation of the mesh of which the proxy has confirmed all that concerns it."""
        confirmed = self.progress.acknowledged
        return self.as_of if confirmed >= self._generation > 0 else confirmed

    def confirmed(self, type_url: str, names: Iterable[str]) -> int:
        """Return the generation up to which every open stream has confirmed these resources.

        0 while one of them is asked for by nobody.
        """
        found: dict[str, int] = {}
        for stream in self._streams:
            for name, generation in stream.session.confirmed(type_url):
                found[name] = min(generation, found.get(name, generation))
        return min(found.get(name, 0) for name in names)

    @property
    def states(self) -> dict[str, SyncState]:
        """How far the proxy is in each type; nothing while it is not connected."""
        return self._streams[-1].session.states if self._streams else {}

    def attach(self, stream: Attachment) -> None:
        """Start to serve a stream."""
        if len(self._streams) >= self.max_streams:
            self._streams[0].end()
        self._streams.append(stream)
        if self._generation:
            stream.session.update(self._resources, self._generation)

    def detach(self, stream: Attachment) -> None:
        """Stop to serve a stream."""
        self._streams.remove(stream)
        self.report()

    def report(self) -> None:
        """Recompute `progress`; streams call this after every request."""
        if not self._streams:
            # It keeps what it has, and stays as far as it was.
            progress = self.progress._replace(connected=False)
        else:
            session = self._streams[-1].session
            progress = Progress(
                connected=True,
                acknowledged=session.acknowledged,
                rejections=session.rejections,
            )
        if progress != self.progress:
            self.progress = progress
            self.on_progress(progress)
