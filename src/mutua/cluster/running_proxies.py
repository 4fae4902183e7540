"""Whose proxy runs?  Those that do not hold nothing, and get everything anew when they start."""

from collections.abc import Callable, Sequence

from mutua.api.object import PODS, Object
from mutua.cluster.controllers.view import View
from mutua.cluster.node.sidecar import SIDECAR


def running_proxies(view: View) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return a function from uids of pods to the names of those whose proxy runs."""

    def names(uids: Sequence[str]) -> Sequence[str]:
        if not uids:
            return ()
        wanted = set(uids)
        return [
            f"{pod['metadata']['name']}.{pod['metadata']['namespace']}"
            for pod in view[PODS].list(None)
            if pod["metadata"]["uid"] in wanted and _proxy_runs(pod)
        ]

    return names


def _proxy_runs(pod: Object) -> bool:
    status = pod.get("status") or {}
    containers = (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    )
    return any(
        one.get("name") == SIDECAR and "running" in (one.get("state") or {}) for one in containers
    )
