"""The volumes of a pod: one source each, and file names that stay inside."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from mutua.api.object import Object
from mutua.api.validation.containers import relative_path_errors
from mutua.api.validation.names import dns_label, name_errors
from mutua.api.verdict import FieldError, duplicate, forbidden, invalid, required

SUPPORTED: Final = ("configMap", "downwardAPI", "emptyDir", "projected", "secret")
PROJECTED: Final = ("configMap", "downwardAPI", "secret", "serviceAccountToken")

MAX_MODE: Final = 0o777
"""Highest file mode (core/v1 `defaultMode`)."""

MIN_TOKEN_LIFETIME: Final = 600
"""Seconds (core/v1 `expirationSeconds`)."""


def volume_errors(path: str, volumes: Sequence[Object]) -> Iterator[FieldError]:
    """Yield what is wrong with a pod's volumes."""
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        where = f"{path}[{index}]"
        yield from name_errors(f"{where}.name", volume["name"], dns_label)
        if volume["name"] in names:
            yield duplicate(f"{where}.name", volume["name"])
        names.add(volume["name"])
        sources = [name for name, value in volume.items() if name != "name" and value is not None]
        if not sources:
            yield required(where, "must specify a volume type")
        for name in sources[1:]:
            yield forbidden(f"{where}.{name}", "may not specify more than 1 volume type")
        for name in sources[:1]:
            yield from _source_errors(f"{where}.{name}", name, volume[name])


def _source_errors(path: str, name: str, source: Object) -> Iterator[FieldError]:
    if name not in SUPPORTED:
        yield forbidden(path, f"not supported by mutua; use one of {', '.join(SUPPORTED)}")
        return
    yield from _mode_errors(f"{path}.defaultMode", source.get("defaultMode"))
    if name == "secret" and not source.get("secretName"):
        yield required(f"{path}.secretName")
    if name == "configMap" and not source.get("name"):
        yield required(f"{path}.name")
    yield from _item_errors(path, source)
    for index, projection in enumerate(source.get("sources") or ()):
        yield from _projection_errors(f"{path}.sources[{index}]", projection)


def _projection_errors(path: str, projection: Object) -> Iterator[FieldError]:
    given = [name for name, value in projection.items() if value is not None]
    if len(given) != 1:
        yield invalid(path, given, f"must specify one of: {', '.join(PROJECTED)}")
    for name in given:
        if name not in PROJECTED:
            yield forbidden(
                f"{path}.{name}", f"not supported by mutua; use one of {', '.join(PROJECTED)}"
            )
            continue
        source = projection[name]
        yield from _item_errors(f"{path}.{name}", source)
        if name in {"configMap", "secret"} and not source.get("name"):
            yield required(f"{path}.{name}.name")
        if name == "serviceAccountToken":
            where = f"{path}.{name}"
            yield from relative_path_errors(f"{where}.path", source["path"])
            seconds = source.get("expirationSeconds")
            if seconds is not None and seconds < MIN_TOKEN_LIFETIME:
                detail = "may not specify a duration less than 10 minutes"
                yield invalid(f"{where}.expirationSeconds", seconds, detail)


def _item_errors(path: str, source: Object) -> Iterator[FieldError]:
    for index, item in enumerate(source.get("items") or ()):
        where = f"{path}.items[{index}]"
        yield from relative_path_errors(f"{where}.path", item["path"])
        yield from _mode_errors(f"{where}.mode", item.get("mode"))


def _mode_errors(path: str, mode: Any) -> Iterator[FieldError]:
    if mode is not None and not 0 <= mode <= MAX_MODE:
        yield invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")
