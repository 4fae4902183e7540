"""What one xDS stream must send next: the delta protocol as a state machine.

The stream tells the session what arrived (`receive`) and what the proxy should have (`update`),
and asks it what to send (`next_response`).  The session never queues responses: it remembers the
names that differ between the proxy and the target and looks their contents up when a response
leaves.  A slow proxy therefore costs a set of names, and skips the states it was too slow for.

    update(resources) ─┐                          ┌─> next_response() -> Response | None
                       ├─ per type: dirty names ──┤
    receive(request) ──┘   one response in flight └─> acknowledged, rejections

Ordering: make before break.  What is new or changed leaves in the order of `ORDER`, clusters
before the listeners that use them; clusters that are gone leave last.  Each type has at most one
unacknowledged response, and types do not wait for one another: Envoy withholds the ACK of
clusters while they warm up, and a policy in a listener must not wait for that.

A NACK: the resources that Envoy's message names are held back, in the version it refused, and
the others of that response are sent again without them.  When the message names none, the batch
is halved until the culprit stands alone.

Source: envoyproxy.io, "xDS REST and gRPC protocol", incremental variant.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from mutua.xds.resource import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    ROUTE,
    ProxyResources,
    Resource,
    ResourceSet,
)
from mutua.xds.subscription import (
    WILDCARD,
    InFlight,
    ProtocolViolation,
    Rejection,
    Request,
    Response,
    Subscription,
    SyncState,
)

EXTENSION: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
ORDER: Final = (CLUSTER, ENDPOINT, LISTENER, ROUTE, EXTENSION)
"""Push order; other types follow in order of subscription (istio-semantics 11.2)."""

USES: Final = {CLUSTER: ENDPOINT, LISTENER: ROUTE}
"""What resources of every proxy refer to."""

MAX_TYPES: Final = 16
"""Types one stream may subscribe to; Envoy uses at most eight."""

MAX_RESPONSE_BYTES: Final = 2 * 1024 * 1024
"""Size from which a response is split, in bytes of resource bodies.  Keeps one proxy's first
configuration from monopolising the event loop; below gRPC's usual 4 MiB limit."""

NOTHING: Final = ResourceSet()


class DeltaSession:
    """One delta stream.  Not thread-safe; no method waits.

    Attributes:
        generation: The generation of the current target; 0 before the first `update`.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._target: ProxyResources = {}
        # In push order.
        self._subscriptions: dict[str, Subscription] = {}
        self._responses = 0

    def update(self, resources: ProxyResources, generation: int) -> None:
        """Set what the peer should have.

        Args:
            resources: Everything, for every type.
            generation: Which state of the mesh this is; positive, never decreases.
        """
        previous, self._target, self.generation = self._target, resources, generation
        for type_url, subscription in self._subscriptions.items():
            target, before = self._wanted(type_url), previous.get(type_url, NOTHING)
            if subscription.known is not None:
                subscription.reveal(target)
            elif target is not before:
                changes = target.changes(before)
                touched = (*(one.name for one in changes.changed), *changes.removed)
                subscription.mark(name for name in touched if subscription.wants(name))
            subscription.settle(generation)

    def receive(self, request: Request) -> tuple[Rejection, ...]:
        """Take one request into account.

        Returns:
            The rejections that this request is the news of.

        Raises:
            ProtocolViolation: Too many types or names; end the stream.
        """
        subscription = self._subscriptions.get(request.type_url)
        news: tuple[Rejection, ...] = ()
        if subscription is None:
            subscription = self._open(request)
        else:
            news = self._answer(request, subscription)
            self._subscribe(request, subscription)
        subscription.unsubscribe(request.unsubscribe)
        if self.generation:
            subscription.settle(self.generation)
        return news

    def next_response(self) -> Response | None:
        """Return what to send now; None while the peer is up to date or has to answer first.

        The response counts as sent: call again until None, and again after every `update` and
        `receive`.
        """
        if not self.generation:
            return None
        for type_url, subscription in self._subscriptions.items():
            if subscription.is_due:
                response = self._compose(type_url, subscription)
                if response is not None:
                    return response
        return None

    @property
    def is_due(self) -> bool:
        """Whether there may be something to send: `next_response` need not be asked else."""
        return any(one.is_due for one in self._subscriptions.values())

    @property
    def acknowledged(self) -> int:
        """The latest generation that the peer has confirmed in every type it subscribed to.

        0 until it has subscribed to all that it needs, and confirmed that: clusters, listeners and
        what these refer to.  It asks for that only then, and for nothing if it refused them.
        """
        opened = self._subscriptions
        for user, used in USES.items():
            if user not in opened:
                return 0
            if used not in opened and self._wanted(used) and not opened[user].rejected:
                return 0
        return min(one.acknowledged for one in opened.values())

    def confirmed(self, type_url: str) -> Iterator[tuple[str, int]]:
        """Yield each name of a type that the peer asked for, with the generation it confirmed."""
        subscription = self._subscriptions.get(type_url)
        if subscription is not None:
            yield from ((name, subscription.acknowledged) for name in subscription.names)

    @property
    def states(self) -> dict[str, SyncState]:
        """How far the peer is in each type it subscribed to."""
        return {type_url: one.state for type_url, one in self._subscriptions.items()}

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """What the peer refused and does not have, in the current target."""
        return tuple(
            rejection
            for subscription in self._subscriptions.values()
            if subscription.rejected
            for rejection in subscription.rejected.values()
        )

    def _wanted(self, type_url: str) -> ResourceSet:
        return self._target.get(type_url, NOTHING)

    def _open(self, request: Request) -> Subscription:
        if len(self._subscriptions) >= MAX_TYPES:
            raise ProtocolViolation(f"more than {MAX_TYPES} types on one stream")
        wildcard = WILDCARD in request.subscribe or not request.subscribe
        subscription = Subscription(wildcard, {} if self._warming(request) else request.versions)
        subscription.subscribe(request.subscribe)
        opened = {**self._subscriptions, request.type_url: subscription}
        self._subscriptions = {kind: opened[kind] for kind in sorted(opened, key=_place)}
        if self.generation:
            subscription.reveal(self._wanted(request.type_url))
        return subscription

    def _warming(self, request: Request) -> bool:
        """Tell whether a reconnecting peer waits for endpoints that it says it has.

        Envoy opens with clusters, unless some still warm up: then it withholds the request, and
        those clusters take only endpoints that arrive from now on.  So a stream that broke
        between a cluster and its endpoints would leave that cluster, and all later ones, waiting.
        """
        return request.type_url == ENDPOINT and CLUSTER not in self._subscriptions

    def _subscribe(self, request: Request, subscription: Subscription) -> None:
        subscription.subscribe(request.subscribe)
        if WILDCARD in request.subscribe and not subscription.wildcard:
            subscription.wildcard = True
            subscription.mark(self._wanted(request.type_url))

    def _answer(self, request: Request, subscription: Subscription) -> tuple[Rejection, ...]:
        """Match an ACK or NACK with its response; ignore one that matches nothing."""
        sent = subscription.in_flight
        if sent is None or not request.nonce or request.nonce != sent.nonce:
            return ()
        subscription.in_flight = None
        if not request.error:
            subscription.confirm(sent)
            return ()
        culprits = _culprits(sent.resources, request.error)
        if not culprits:
            subscription.batch = max(1, len(sent.resources) // 2)
        subscription.mark(one.name for one in sent.resources if one not in culprits)
        if sent.resources:
            subscription.mark(sent.removed)
        return tuple(subscription.reject(one, request.type_url, request.error) for one in culprits)

    def _compose(self, type_url: str, subscription: Subscription) -> Response | None:
        """Take dirty names into one response, as many as fit."""
        target = self._wanted(type_url)
        may_remove = type_url != CLUSTER or self._only_clusters_differ()
        resources: list[Resource] = []
        removed: list[str] = []
        size = 0
        for name in subscription.dirty:
            if len(resources) >= subscription.batch or size >= MAX_RESPONSE_BYTES:
                break
            if (resource := target.find(name)) is not None:
                resources.append(resource)
                size += len(resource.body)
            elif may_remove:
                removed.append(name)
        if not resources and not removed and not subscription.answer_due:
            return None
        for name in (*(one.name for one in resources), *removed):
            del subscription.dirty[name]
            subscription.rejected.pop(name, None)
        self._note_sent(subscription, tuple(resources), tuple(removed))
        if type_url == CLUSTER:
            self._warm(resources)
        return Response(
            type_url=type_url,
            nonce=str(self._responses),
            resources=tuple(resources),
            removed=tuple(removed),
        )

    def _note_sent(
        self,
        subscription: Subscription,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
    ) -> None:
        self._responses += 1
        subscription.answer_due = False
        complete = self.generation if not subscription.dirty else subscription.acknowledged
        subscription.in_flight = InFlight(str(self._responses), resources, removed, complete)

    def _only_clusters_differ(self) -> bool:
        return not any(
            one.dirty for type_url, one in self._subscriptions.items() if type_url != CLUSTER
        )

    def _warm(self, clusters: Iterable[Resource]) -> None:
        """A cluster that changed warms up anew and waits for its endpoints, changed or not."""
        if (endpoints := self._subscriptions.get(ENDPOINT)) is not None:
            endpoints.mark(one.name for one in clusters if one.name in endpoints.names)


def _place(type_url: str) -> int:
    return ORDER.index(type_url) if type_url in ORDER else len(ORDER)


def _culprits(resources: tuple[Resource, ...], error: str) -> tuple[Resource, ...]:
    """Return the resources that a refusal is about; () when that cannot be told yet."""
    if len(resources) <= 1:
        return resources
    # "a" must not be blamed for a message about "a|b".
    return tuple(
        one
        for one in resources
        if re.search(rf"(?<![\w.|-]){re.escape(one.name)}(?![\w|-])", error)
    )
