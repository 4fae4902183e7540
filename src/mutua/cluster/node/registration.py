"""The Node object: what `kubectl get nodes` and `describe node` show."""

import os
import platform
from typing import Any, Final

from mutua.api.object import NODES
from mutua.cluster.node.settings import NodeSettings
from mutua.foundation.clock import Clock, rfc3339
from mutua.store.port import AlreadyExists, NotFound, ObjectStore

PODS_AT_MOST: Final = "1000"
"""Shown as capacity; the address range would allow more."""


async def register_node(store: ObjectStore, settings: NodeSettings, clock: Clock) -> None:
    """Create the Node object if need be, and report it ready."""
    try:
        node = await store.get(NODES, "", settings.name)
    except NotFound:
        labels = {"kubernetes.io/hostname": settings.name, "kubernetes.io/os": "linux"}
        metadata = {"name": settings.name, "labels": labels}
        spec = {"podCIDR": "10.244.0.0/16", "podCIDRs": ["10.244.0.0/16"]}
        blank = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}
        try:
            node = await store.create(NODES, blank)
        except AlreadyExists:
            node = await store.get(NODES, "", settings.name)
    node["metadata"].pop("resourceVersion", None)
    await store.update_status(NODES, {**node, "status": _status(settings, rfc3339(clock.now()))})


def _status(settings: NodeSettings, now: str) -> dict[str, Any]:
    machine = platform.uname()
    capacity = {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 1024}Ki",
        "pods": PODS_AT_MOST,
    }
    return {
        "addresses": [
            {"type": "InternalIP", "address": settings.address},
            {"type": "Hostname", "address": settings.name},
        ],
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "the node runs pods as processes of this machine",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }
        ],
        "nodeInfo": {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                machine.machine, machine.machine
            ),
            "containerRuntimeVersion": "mutua://process",
            "kernelVersion": machine.release,
            "kubeletVersion": settings.version,
            "kubeProxyVersion": settings.version,
            "operatingSystem": "linux",
            "osImage": "this machine",
            "bootID": "",
            "machineID": "",
            "systemUUID": "",
        },
    }
