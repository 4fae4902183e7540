"""On which node does a pod run?  There is one: the scheduler is an admission hook."""

from mutua.api.object import PODS, Object, Resource
from mutua.cluster.node.settings import NodeSettings


def is_bound_to(node: str, pod: Object) -> bool:
    """Tell whether a node runs a pod; one that is bound to nobody is ours."""
    return pod["spec"].get("nodeName") in {None, "", node}


class NodeBinding:
    """Binds new pods to the one node, in the same write that creates them."""

    def __init__(self, settings: NodeSettings) -> None:
        self._name = settings.name

    async def admit(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        """Return a new pod with its node; everything else as it is."""
        if resource != PODS or old is not None or obj["spec"].get("nodeName"):
            return obj
        return {**obj, "spec": {**obj["spec"], "nodeName": self._name}}
