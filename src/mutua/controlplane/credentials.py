"""Secrets that DestinationRules name with `credentialName`, for the proxies that ask for them.

A rule names a Secret of its own namespace, and selects clients there.  Their proxies are told to
ask for it, on their own sockets, and only they are served it:

    kubernetes://NAME         certificate and key    of Secret NAME
    kubernetes://NAME-cacert  roots, perhaps a CRL   of Secret NAME-cacert, else of NAME

Keys pass through this process from the store to the proxy's socket and are written nowhere.
Source: istio-semantics 2.9 and 3.6; istio pilot/pkg/credentials/kube.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mutua.api.credential import (
    CHAIN_KEYS,
    CRL_KEYS,
    KEY_KEYS,
    ROOTS_KEYS,
    credential_fault,
    value_of,
)
from mutua.api.destination import ROOTS, ClientTls, DestinationRule
from mutua.api.object import SECRETS, Object
from mutua.lifecycle.supervisor import Ready
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.store.mirror import Change, Mirror
from mutua.store.port import ObjectStore
from mutua.xds.compile.origination import SECRETS as PREFIX
from mutua.xds.feed import Feed
from mutua.xds.proto import message, type_url
from mutua.xds.resource import Layer, Resource, ResourceSet
from mutua.xds.subscription import Rejection

MESSAGE: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"
SECRET: Final = type_url(MESSAGE)

MAX_STREAMS: Final = 512
"""Streams of one proxy at a time: Envoy opens one per Secret that rules name, and has no
more than 1,024 requests under way to one cluster.  One more ends the oldest."""

log = logging.getLogger(__name__)


class Credentials:
    """The Secrets of all namespaces, each served to the proxies that a rule has ask for it.

    Attributes:
        on_change: Called when what `fault` says may have changed.
    """

    def __init__(self, store: ObjectStore) -> None:
        """Prepare; nothing is served before `run`.

        Args:
            store: Where the Secrets are.
        """
        self.on_change: Callable[[], None] = lambda: None
        self._secrets = Mirror(store, SECRETS)
        self._secrets.subscribe(self._changed)
        self._feeds: dict[str, tuple[str, Feed]] = {}
        self._layers: dict[str, Layer] = {}
        self._refused: dict[tuple[str, str], str] = {}
        self._rules: tuple[DestinationRule, ...] = ()
        self._naming: tuple[DestinationRule, ...] = ()
        self._workloads: Mapping[str, Workload] = {}
        self._generation = 1

    async def run(self, ready: Ready) -> None:
        """Follow the Secrets until cancelled; ready once they are known."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._secrets.run(), name="mirror secrets")
            await self._secrets.wait_synced()
            ready()

    def feed(self, pod_uid: str, namespace: str) -> Feed:
        """Return what a pod's proxy is served from; the same one until `remove`."""
        known = self._feeds.get(pod_uid)
        if known is None:
            feed = Feed(
                pod_uid,
                on_rejection=lambda one: self._note_refusal(namespace, one),
                max_streams=MAX_STREAMS,
            )
            self._feeds[pod_uid] = known = namespace, feed
            self._publish(pod_uid)
        return known[1]

    def follow(self, snapshot: MeshSnapshot) -> None:
        """Serve what the rules of this state name to the clients that they select."""
        before = self._naming
        if snapshot.destination_rules is not self._rules:
            self._rules = snapshot.destination_rules
            self._naming = tuple(filter(_names, self._rules))
        self._workloads = snapshot.workloads
        namespaces = {rule.namespace for rule in (*before, *self._naming)}
        for uid, (namespace, _) in self._feeds.items() if namespaces else ():
            if namespace in namespaces:
                self._publish(uid)

    def remove(self, pod_uid: str) -> None:
        """Forget a pod."""
        self._feeds.pop(pod_uid, None)

    def fault(self, namespace: str, tls: ClientTls) -> str:
        """Return what is wrong with the Secret that a rule of a namespace names, "" for nothing."""
        fault, _ = credential_fault(tls, namespace, lambda name: self._secrets.get(namespace, name))
        if fault:
            return fault
        name = tls.credential_name
        for refused in (name, name + ROOTS):
            if words := self._refused.get((namespace, refused)):
                return f"Secret {namespace}/{refused} was refused: {words}"
        return ""

    def _changed(self, change: Change) -> None:
        metadata = change.object["metadata"]
        namespace = metadata.get("namespace") or ""
        stem = metadata["name"].removesuffix(ROOTS)
        for name in (stem, stem + ROOTS):
            self._refused.pop((namespace, name), None)
        self._layers.pop(namespace, None)
        for uid, (where, _) in self._feeds.items():
            if where == namespace:
                self._publish(uid)
        self.on_change()

    def _publish(self, uid: str) -> None:
        namespace, feed = self._feeds[uid]
        wanted = self._wanted(uid, namespace)
        if wanted and namespace not in self._layers:
            self._layers[namespace] = Layer(self._resources(namespace))
        present = self._layers[namespace].by_name if wanted else {}
        layer = Layer(present[name] for name in sorted(wanted & present.keys()))
        before = feed.resources.get(SECRET)
        if before is None or dict(before) != layer.by_name:
            self._generation += 1
            feed.publish({SECRET: ResourceSet(layer)}, self._generation)

    def _wanted(self, uid: str, namespace: str) -> frozenset[str]:
        """Return the resources that rules have a pod's proxy ask for."""
        pod = self._workloads.get(uid)
        if pod is None:
            return frozenset()
        return frozenset().union(
            *(
                _names(rule)
                for rule in self._naming
                if rule.namespace == namespace
                and rule.selector is not None
                and rule.selector.items() <= pod.labels.items()
            )
        )

    def _resources(self, namespace: str) -> Iterator[Resource]:
        secrets = {one["metadata"]["name"]: one for one in self._secrets.list(namespace)}
        for name, obj in secrets.items():
            chain, key = value_of(obj, CHAIN_KEYS), value_of(obj, KEY_KEYS)
            if chain and key:
                yield _certificate(PREFIX + name, obj, chain, key)
            elif name.endswith(ROOTS) and value_of(obj, ROOTS_KEYS):
                yield _trust(PREFIX + name, obj)
            if name + ROOTS not in secrets and value_of(obj, ROOTS_KEYS):
                yield _trust(PREFIX + name + ROOTS, obj)

    def _note_refusal(self, namespace: str, rejection: Rejection) -> None:
        present = self._layers.get(namespace, Layer()).get(rejection.name)
        if present is None or present.version != rejection.version:
            return  # somebody has repaired it meanwhile
        name = rejection.name.removeprefix(PREFIX)
        if self._refused.get((namespace, name)) != rejection.message:
            reason = {"secret": f"{namespace}/{name}", "reason": rejection.message}
            log.warning("secret refused by a proxy", extra=reason)
        self._refused[namespace, name] = rejection.message
        self.on_change()


def _names(rule: DestinationRule) -> frozenset[str]:
    """Return the resources that a rule has its clients ask for."""
    if rule.selector is None:
        return frozenset()  # admission warns of that
    named = {tls.credential_name for _, tls in rule.tls_blocks()} - {""}
    return frozenset(PREFIX + one + suffix for one in named for suffix in ("", ROOTS))


def _certificate(name: str, secret: Object, chain: bytes, key: bytes) -> Resource:
    body: Any = message(MESSAGE)(name=name)
    body.tls_certificate.certificate_chain.inline_bytes = chain
    body.tls_certificate.private_key.inline_bytes = key
    return _resource(name, secret, body)


def _trust(name: str, secret: Object) -> Resource:
    body: Any = message(MESSAGE)(name=name)
    body.validation_context.trusted_ca.inline_bytes = value_of(secret, ROOTS_KEYS)
    if crl := value_of(secret, CRL_KEYS):
        body.validation_context.crl.inline_bytes = crl
    return _resource(name, secret, body)


def _resource(name: str, secret: Object, body: Any) -> Resource:
    """Version a resource by its Secret's: nothing of a key is in what logs and dumps show."""
    metadata = secret["metadata"]
    version = f"{metadata.get('uid', '')}/{metadata.get('resourceVersion', '')}"
    return Resource(name, version, body.SerializeToString(deterministic=True))
