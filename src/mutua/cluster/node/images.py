"""What does an image run, on a machine without images?  The catalogue.  Pure.

A container with a command runs that command from the host, whatever its image.  One without runs
what its image maps to here: well-known images of tutorials, and what users add in the ConfigMap
`mutua-images` in `istio-system`, each of whose values is YAML of this form:

    registry.example.com/shop/web: ["python3", "-m", "http.server", "8080"]
    shop/worker: sleep infinity

Tags and digests do not matter; `docker.io/` and `library/` may be left out.
"""

import shlex
from collections.abc import Mapping
from typing import Any, Final

import yaml

from mutua.api.object import Object
from mutua.foundation.errors import Rejected

CONFIG_MAP: Final = "mutua-images"
CONFIG_MAP_NAMESPACE: Final = "istio-system"

PYTHON: Final = "{python}"
"""Stands for the interpreter that mutua is installed in."""

BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    # The real httpbin, from PyPI, under a real WSGI server; ports as in the images.
    "kennethreitz/httpbin": (
        PYTHON, "-m", "waitress", "--listen=0.0.0.0:80", "--threads=8", "httpbin:app",
    ),
    "kong/httpbin": (
        PYTHON, "-m", "waitress", "--listen=0.0.0.0:80", "--threads=8", "httpbin:app",
    ),
    # This image reads its port from the environment.
    "mccutchen/go-httpbin": (
        "sh", "-c",
        f'exec "{PYTHON}" -m waitress --listen=0.0.0.0:${{PORT:-8080}} --threads=8 httpbin:app',
    ),
    # Clients: pods in which `kubectl exec` finds the host's curl.
    "curlimages/curl": ("sleep", "infinity"),
    "curl": ("sleep", "infinity"),
    "governmentpaas/curl-ssl": ("sleep", "infinity"),
    "pstauffer/curl": ("sleep", "infinity"),
    "tutum/curl": ("sleep", "infinity"),
    "radial/busyboxplus": ("sleep", "infinity"),
    "pause": ("sleep", "infinity"),
    "registry.k8s.io/pause": ("sleep", "infinity"),
}  # fmt: skip


class ImageUnknown(Rejected):
    """The catalogue does not know the image, and the container has no command."""

    code = "node.image_unknown"


def repository(image: str) -> str:
    """Return an image's name as the catalogue spells it: without registry default and tag."""
    name = image.split("@", 1)[0]
    last = name.rsplit("/", 1)[-1]
    if ":" in last:
        name = name[: -len(last)] + last.split(":", 1)[0]
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        name = name.removeprefix(prefix)
    return name


def read_catalogue(config_map: Object | None) -> dict[str, tuple[str, ...]]:
    """Return the built-in catalogue and what users added to it.

    Raises:
        Rejected: The ConfigMap is malformed; the message says where.
    """
    catalogue = dict(BUILT_IN)
    for key, text in ((config_map or {}).get("data") or {}).items():
        where = f"ConfigMap {CONFIG_MAP_NAMESPACE}/{CONFIG_MAP}, key {key!r}"
        try:
            # Text only: what looks like a number stays as written, merge keys mean nothing.
            entries = yaml.load(text, Loader=yaml.BaseLoader)
        except (yaml.YAMLError, RecursionError) as error:
            raise Rejected(f"{where} is not YAML: {str(error).splitlines()[0]}") from error
        if not isinstance(entries, dict):
            raise Rejected(f"{where} does not map images to commands")
        for image, command in entries.items():
            catalogue[repository(str(image))] = _command(where, image, command)
    return catalogue


def _command(where: str, image: Any, command: Any) -> tuple[str, ...]:
    if isinstance(command, str):
        try:
            command = shlex.split(command)
        except ValueError as error:
            raise Rejected(f"{where}: {image}: {error}") from error
    if not command or not isinstance(command, list):
        raise Rejected(f"{where}: {image}: expected a command, as text or as a list")
    return tuple(str(word) for word in command)


def find_command(
    container: Mapping[str, Any], catalogue: Mapping[str, tuple[str, ...]], *, python: str
) -> tuple[str, ...]:
    """Return program and arguments of a container; `$(VAR)` is not yet expanded.

    Raises:
        ImageUnknown: Neither the container nor the catalogue says what to run.
    """
    command, args = container.get("command") or [], container.get("args") or []
    if command:
        return (*command, *args)
    image = str(container.get("image") or "")
    default = catalogue.get(repository(image))
    if default is None:
        raise ImageUnknown(
            f'mutua runs host programs instead of images and does not know "{image}": set '
            f"command in container {container['name']!r}, or add "
            f'"{repository(image)}: <command>" to ConfigMap {CONFIG_MAP} in namespace '
            f"{CONFIG_MAP_NAMESPACE}"
        )
    return tuple(args) or tuple(word.replace(PYTHON, python) for word in default)
