"""On which node does a pod run?  There is one.

New pods are bound by an admission hook, in the write that creates them.  A pod that came past it
is bound by the node when it sees it.
"""

from mutua.api.object import PODS, Object, Resource
from mutua.cluster.controllers.view import View
from mutua.cluster.node.settings import NodeSettings
from mutua.store.mirror import address, uid
from mutua.store.port import NotFound, Stale


def is_bound_to(node: str, pod: Object) -> bool:
    """Tell whether a node runs a pod; one that is bound to nobody is ours."""
    return pod["spec"].get("nodeName") in {None, "", node}


async def bind(view: View, pod: Object, node: str) -> None:
    """Bind a stored pod that is bound to nobody; fine when it is gone."""
    while not pod["spec"].get("nodeName"):
        try:
            pod = await view.update(PODS, {**pod, "spec": {**pod["spec"], "nodeName": node}})
        except Stale:
            current = await view.store.get(PODS, *address(pod))
            if uid(current) != uid(pod):
                return
            pod = current
        except NotFound:
            return


class NodeBinding:
    """Binds new pods to the one node, in the same write that creates them."""

    def __init__(self, settings: NodeSettings) -> None:
        self._name = settings.name

    async def admit(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        """Return a new pod with its node; everything else as it is."""
        if resource != PODS or old is not None or obj["spec"].get("nodeName"):
            return obj
        return {**obj, "spec": {**obj["spec"], "nodeName": self._name}}
