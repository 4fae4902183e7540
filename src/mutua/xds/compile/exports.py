"""Who sees a Service?  `exportTo`, as written: "*" for everybody, "." for its own namespace."""

from collections.abc import Collection

from mutua.model.service import Service
from mutua.model.settings import MeshSettings


def is_visible(service: Service, namespace: str, settings: MeshSettings) -> bool:
    """Tell whether clients of a namespace see a Service."""
    return is_exported(_exported(service, settings), service.id.namespace, namespace)


def is_public(service: Service, settings: MeshSettings) -> bool:
    """Tell whether clients of every namespace see a Service."""
    return "*" in _exported(service, settings)


def precedence(service: Service, namespace: str, settings: MeshSettings) -> int:
    """Return whether a Service that clients see goes before others on a port: the lowest first.

    What a namespace keeps to itself goes before what others let it see, and that before what
    everybody sees.  Source: istio pilot/pkg/model PushContext.servicesExportedToNamespace.
    """
    if is_public(service, settings):
        return 2
    return 0 if service.id.namespace == namespace else 1


def is_exported(exported: Collection[str], owner: str, namespace: str) -> bool:
    """Tell whether clients of `namespace` see what `owner` exports so."""
    return "*" in exported or namespace in exported or ("." in exported and namespace == owner)


def _exported(service: Service, settings: MeshSettings) -> tuple[str, ...]:
    return service.export_to or settings.default_service_export_to
