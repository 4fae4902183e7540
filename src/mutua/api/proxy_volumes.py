"""Volumes of a pod's proxy: where a DestinationRule's certificates can come from.

    sidecar.istio.io/userVolume       '[{"name": "client", "secret": {"secretName": "client"}}]'
    sidecar.istio.io/userVolumeMount  '[{"name": "client", "mountPath": "/etc/client"}]'

Deviates from Istio: Secrets and ConfigMaps only, read-only, below /etc and beside the proxy's own
files.  The proxy holds the workload's key: what a pod's author mounts is data for it, no program.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mutua.api.object import Object

VOLUMES: Final = "sidecar.istio.io/userVolume"
MOUNTS: Final = "sidecar.istio.io/userVolumeMount"

FILES: Final = "mutua.io/ProxyFiles"
"""Condition of a pod: which versions of Secrets and ConfigMaps are in its proxy's files."""

SOURCES: Final = ("secret", "configMap")
MOUNT_FIELDS: Final = frozenset({"name", "mountPath", "readOnly", "readonly"})
"""`readonly` is how Istio's own documentation spells it."""

PARENT: Final = "/etc/"
OWN: Final = ("/etc/istio/config", "/etc/istio/pod", "/etc/istio/proxy", "/etc/certs")
"""Directories that hold the proxy's own files."""


@dataclass(frozen=True, slots=True)
class ProxyVolumes:
    """What a pod's author adds to its proxy.

    Attributes:
        volumes: As in a pod's spec.
        mounts: As in a container's.
    """

    volumes: tuple[Object, ...] = ()
    mounts: tuple[Object, ...] = ()


def proxy_volumes(given: Mapping[str, str]) -> ProxyVolumes:
    """Read a pod's annotations.

    Raises:
        ValueError: One of them is not what it must be; the sentence says how.
    """
    return ProxyVolumes(
        volumes=tuple(map(_volume, _items(given.get(VOLUMES)))),
        mounts=tuple(map(_mount, _items(given.get(MOUNTS)))),
    )


def volumes_complaint(value: str) -> str:
    """Return what is wrong with `userVolume`, "" when nothing is."""
    return _complaint({VOLUMES: value})


def mounts_complaint(value: str) -> str:
    """Return what is wrong with `userVolumeMount`, "" when nothing is."""
    return _complaint({MOUNTS: value})


def _complaint(given: Mapping[str, str]) -> str:
    try:
        proxy_volumes(given)
    except ValueError as error:
        return str(error)
    return ""


def _items(text: str | None) -> list[dict[str, Any]]:
    """Return the items of a JSON list; Istio also takes an object that names them by key."""
    if text is None:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("must be JSON: a list of objects") from None
    if isinstance(found, dict):
        found = [_named(name, one) for name, one in found.items()]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("must be a list of objects")
    for one in found:
        if not isinstance(one.get("name"), str) or not one["name"]:
            raise ValueError("every item needs a name")
    return found


def _named(name: str, item: Any) -> Any:
    return {"name": name, **item} if isinstance(item, dict) else item


def _volume(volume: dict[str, Any]) -> Object:
    name, sources = volume["name"], [field for field in volume if field != "name"]
    if len(sources) != 1 or sources[0] not in SOURCES:
        raise ValueError(f"volume {name!r} must have one source: {' or '.join(SOURCES)}")
    if not isinstance(volume[sources[0]], dict):
        raise ValueError(f"volume {name!r}: {sources[0]} must be an object")  # noqa: TRY004
    return volume


def _mount(mount: dict[str, Any]) -> Object:
    name, path = mount["name"], mount.get("mountPath")
    if others := sorted(mount.keys() - MOUNT_FIELDS):
        raise ValueError(f"mount of {name!r}: {', '.join(others)} not supported")
    parts = path.split("/")[1:] if isinstance(path, str) else []
    if not isinstance(path, str) or not path.startswith(PARENT) or {"", ".", ".."} & {*parts}:
        raise ValueError(f"mount of {name!r}: mountPath must be a directory below {PARENT}")
    if any(
        path == own or f"{path}/".startswith(f"{own}/") or own.startswith(f"{path}/") for own in OWN
    ):
        raise ValueError(f"mount of {name!r}: {path} holds the proxy's own files")
    return {"name": name, "mountPath": path, "readOnly": True}
