"""The admission hook that gives pods their proxy; whether one gets it, mutua.policy decides."""

from collections.abc import Callable

from mutua.api.object import NAMESPACES, PODS, Object, Resource
from mutua.api.verdict import Verdict as FieldVerdict
from mutua.controlplane.proxy_container import (
    InjectionSettings,
    frozen_annotation_errors,
    inject,
    reserved_name_errors,
    without_injection,
)
from mutua.policy.injection import Verdict, decide
from mutua.store.port import NotFound, ObjectStore


class SidecarInjector:
    """The admission hook: pods that are created get a proxy, or lose a copied one.

    Of stored pods it only guards the annotations by which the node knows what it has started.
    """

    def __init__(
        self,
        store: ObjectStore,
        settings: Callable[[], InjectionSettings] = InjectionSettings,
    ) -> None:
        """Make the hook.

        Args:
            store: Where the namespaces are.
            settings: Returns the mesh's settings as they are when a pod is created.
        """
        self._store = store
        self._settings = settings

    async def __call__(self, resource: Resource, obj: Object, old: Object | None) -> Object:
        """Return the object to store; see `AdmissionHook`.

        Raises:
            Invalid: An annotation of the pod is malformed or asks for what mutua does not do, or
                a container of its own is called istio-proxy.
        """
        if resource != PODS:
            return obj
        if old is not None:
            FieldVerdict(errors=[*frozen_annotation_errors(obj, old)]).raise_for_errors()
            return obj
        pod = without_injection(obj)
        try:
            namespace = await self._store.get(
                NAMESPACES, "", obj["metadata"].get("namespace") or "default"
            )
        except NotFound:
            return pod  # the registry says so, in its own words
        settings = self._settings()
        if decide(namespace, pod, settings).verdict is Verdict.SKIP:
            FieldVerdict(errors=[*reserved_name_errors(pod)]).raise_for_errors()
            return pod
        return inject(pod, settings)
