"""The mesh's root certificates in every namespace: ConfigMap `istio-ca-root-cert`.

Workloads outside the mesh mount it to verify workloads inside.  Beside it, ConfigMap `istio-ca-crl`
holds an operator's revocation lists, while there are any.  Both are published, not negotiated: an
edited or deleted copy is put back at once (istio-semantics 4.6).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from mutua.api.object import CONFIG_MAPS, NAMESPACES, Object
from mutua.foundation.backoff import Backoff
from mutua.foundation.errors import Conflict, MutuaError
from mutua.lifecycle.supervisor import Ready
from mutua.store.mirror import Change, Mirror, address
from mutua.store.port import NotFound, ObjectStore

NAME: Final = "istio-ca-root-cert"
KEY: Final = "root-cert.pem"
CRL_NAME: Final = "istio-ca-crl"
CRL_KEY: Final = "ca-crl.pem"
LABELS: Final = {"istio.io/config": "true"}

EXCLUDED: Final = frozenset({"kube-public", "kube-node-lease", "local-path-storage"})
"""Namespaces that get none.  Source: istio inject.IgnoredNamespaces without kube-system."""

RETRY: Final = Backoff(first=0.05, ceiling=5.0)
"""After a failed write; seconds."""

log = logging.getLogger(__name__)


class RootCertificatePublisher:
    """Keeps the ConfigMaps right in every namespace."""

    def __init__(
        self, store: ObjectStore, roots: Callable[[], str], crl: Callable[[], str] = lambda: ""
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            store: Where the ConfigMaps are.
            roots: Returns the trust bundle, PEM.
            crl: Returns an operator's revocation lists, PEM; "" for none.
        """
        self._store = store
        self._texts = {NAME: (KEY, roots), CRL_NAME: (CRL_KEY, crl)}
        self._pending: dict[str, None] = {}
        self._woken = asyncio.Event()
        self._namespaces = Mirror(store, NAMESPACES)
        self._config_maps = Mirror(store, CONFIG_MAPS)
        self._namespaces.subscribe(self._namespace_changed)
        self._config_maps.subscribe(self._config_map_changed)

    async def run(self, ready: Ready) -> None:
        """Publish until cancelled; ready once every existing namespace has the ConfigMap."""
        async with asyncio.TaskGroup() as group:
            for mirror in (self._namespaces, self._config_maps):
                group.create_task(mirror.run(), name=f"mirror {mirror.resource}")
            await self._namespaces.wait_synced()
            await self._config_maps.wait_synced()
            await self._drain()
            ready()
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._drain()

    def refresh(self) -> None:
        """Publish anew: the roots may have changed."""
        for namespace in self._namespaces.list():
            self._add(namespace["metadata"]["name"])

    def _add(self, namespace: str) -> None:
        self._pending[namespace] = None
        self._woken.set()

    def _namespace_changed(self, change: Change) -> None:
        self._add(change.object["metadata"]["name"])

    def _config_map_changed(self, change: Change) -> None:
        namespace, name = address(change.object)
        if name in self._texts:
            self._add(namespace)

    async def _drain(self) -> None:
        attempt = 0
        while self._pending:
            namespace = next(iter(self._pending))
            del self._pending[namespace]
            try:
                await self._reconcile(namespace)
                attempt = 0
            except (Conflict, NotFound):
                # Changed underneath us, or gone: the mirror brings it again if it matters.
                continue
            except MutuaError as error:
                log.warning(
                    "root certificate not published",
                    extra={"namespace": namespace, "reason": str(error)},
                )
                await asyncio.sleep(RETRY.delay(attempt, draw=0.5))
                attempt += 1
                self._add(namespace)

    async def _reconcile(self, namespace: str) -> None:
        if not self._wants(namespace):
            return
        for name, (key, text) in self._texts.items():
            await self._publish(namespace, name, {key: text()} if text() else {})

    async def _publish(self, namespace: str, name: str, data: dict[str, str]) -> None:
        present = self._config_maps.get(namespace, name)
        if present is None:
            if data:
                await self._store.create(CONFIG_MAPS, _config_map(namespace, name, data))
            return
        labels = present["metadata"].get("labels") or {}
        is_labelled = labels.items() >= LABELS.items()
        if not data:
            if is_labelled:  # else somebody else's
                await self._store.delete(CONFIG_MAPS, namespace, name)
        elif present.get("data") != data or present.get("binaryData") or not is_labelled:
            metadata = {**present["metadata"], "labels": {**labels, **LABELS}}
            corrected = {**present, "metadata": metadata, "data": data}
            corrected.pop("binaryData", None)
            await self._store.update(CONFIG_MAPS, corrected)

    def _wants(self, namespace: str) -> bool:
        found = self._namespaces.get("", namespace)
        if found is None or namespace in EXCLUDED:
            return False
        return not found["metadata"].get("deletionTimestamp")


def _config_map(namespace: str, name: str, data: dict[str, Any]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(LABELS)},
        "data": data,
    }
