"""What do a pod's volumes contain?

`volume_files` computes the files of one volume; `write_files` puts them on disk so that a reader
sees either the old set or the new one: a fresh directory, then one rename of the link `..data`,
as the kubelet does.  That is how edits of ConfigMaps reach running pods.
"""

import hashlib
import os
import posixpath
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mutua.api.object import CONFIG_MAPS, SECRETS, Object, Resource
from mutua.cluster.node.content import decoded, field_text
from mutua.cluster.node.environment import Lookup, SourceMissing, resource_text
from mutua.cluster.node.ports import TokenIssuer
from mutua.foundation.errors import Rejected, Unavailable

MODE: Final = 0o644
"""Permissions of files whose volume sets none (Kubernetes defaultMode)."""

TOKEN_SECONDS: Final = 3600
"""Life of a projected token that sets none (Kubernetes expirationSeconds)."""

DAY: Final = 86_400
"""Seconds after which a token is replaced whatever its life (kubelet); no token lives longer."""

DATA: Final = "..data"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    content: bytes
    mode: int = MODE


Files = dict[str, File]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the contents of volumes come from.

    Attributes:
        pod: The pod.
        lookup: Its namespace's ConfigMaps and Secrets.
        facts: What the node knows before the status says so.
        tokens: Signs projected tokens.
    """

    pod: Object
    lookup: Lookup
    facts: Mapping[str, str]
    tokens: TokenIssuer


async def volume_files(volume: Mapping[str, Any], sources: Sources) -> Files | None:
    """Return a volume's files; None for an emptyDir, whose content is the pod's.

    Raises:
        SourceMissing: A ConfigMap or Secret that is not optional does not exist.
        Rejected: The type is not supported.
    """
    if "emptyDir" in volume:
        return None
    if (config := volume.get("configMap")) is not None:
        return _data_files(CONFIG_MAPS, config, config.get("name", ""), sources, _mode(config))
    if (secret := volume.get("secret")) is not None:
        name = secret.get("secretName", "")
        return _data_files(SECRETS, secret, name, sources, _mode(secret))
    if (downward := volume.get("downwardAPI")) is not None:
        return _downward_files(downward, sources, _mode(downward))
    if (projected := volume.get("projected")) is not None:
        files: Files = {}
        for source in projected.get("sources") or []:
            files |= await _projected_files(source, sources, _mode(projected))
        return files
    kinds = ", ".join(key for key in volume if key != "name") or "none"
    raise Rejected(f"volume {volume['name']!r}: unsupported type: {kinds}")


def source_version(volume: Mapping[str, Any], lookup: Lookup) -> str:
    """Return which version of which Secret or ConfigMap a volume would contain if written now.

    "" for a volume of another type.  Says nothing about the content: it may be shown.
    """
    for resource, field, named in (
        (SECRETS, "secret", "secretName"),
        (CONFIG_MAPS, "configMap", "name"),
    ):
        if (source := volume.get(field)) is not None:
            name = source.get(named, "")
            found = lookup(resource, name)
            version = found["metadata"]["resourceVersion"] if found is not None else "absent"
            return f"{resource.plural}/{name} {version}"
    return ""


def token_seconds(volume: Mapping[str, Any]) -> int | None:
    """Return the shortest life of the tokens in a volume, None when it has none."""
    found = [
        min(int(source["serviceAccountToken"].get("expirationSeconds") or TOKEN_SECONDS), DAY)
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    ]
    return min(found, default=None)


def _mode(source: Mapping[str, Any]) -> int:
    mode = source.get("defaultMode")
    return MODE if mode is None else int(mode)


def _data_files(
    resource: Resource, source: Mapping[str, Any], name: str, sources: Sources, mode: int
) -> Files:
    obj = sources.lookup(resource, name)
    optional = bool(source.get("optional"))
    if obj is None and not optional:
        raise SourceMissing(f'{resource.plural.removesuffix("s")} "{name}" not found')
    data = {} if obj is None else decoded(resource, obj)
    items = source.get("items")
    if items is None:
        return {key: File(content, mode) for key, content in data.items()}
    files: Files = {}
    for item in items:
        if item["key"] in data:
            files[inside(item["path"])] = File(data[item["key"]], int(item.get("mode") or mode))
        elif not optional:
            raise SourceMissing(f'{name}: references non-existent key "{item["key"]}"')
    return files


def _downward_files(source: Mapping[str, Any], sources: Sources, mode: int) -> Files:
    files: Files = {}
    for item in source.get("items") or []:
        if (field := item.get("fieldRef")) is not None:
            text = field_text(sources.pod, field["fieldPath"], sources.facts)
        else:
            text = resource_text(item["resourceFieldRef"], sources.pod["spec"]["containers"])
        files[inside(item["path"])] = File(text.encode(), int(item.get("mode") or mode))
    return files


async def _projected_files(source: Mapping[str, Any], sources: Sources, mode: int) -> Files:
    if (config := source.get("configMap")) is not None:
        return _data_files(CONFIG_MAPS, config, config.get("name", ""), sources, mode)
    if (secret := source.get("secret")) is not None:
        return _data_files(SECRETS, secret, secret.get("name", ""), sources, mode)
    if (downward := source.get("downwardAPI")) is not None:
        return _downward_files(downward, sources, mode)
    if (token := source.get("serviceAccountToken")) is not None:
        seconds = int(token.get("expirationSeconds") or TOKEN_SECONDS)
        text = await sources.tokens.issue(sources.pod, token.get("audience") or "", seconds)
        return {inside(token["path"]): File(text.encode(), mode)}
    raise Rejected(f"unsupported projected source: {', '.join(source)}")


def inside(path: str) -> str:
    """Return a path inside a volume without detours.

    Raises:
        Rejected: It would leave the volume, is the volume, or is reserved (`..data`).
    """
    plain = posixpath.normpath(path)
    if path.startswith("/") or ".." in path.split("/") or plain.startswith("..") or plain == ".":
        raise Rejected(f"not a path inside the volume: {path!r}")
    return plain


def make_inside(directory: Path, path: str) -> None:
    """Make the directories of a path in a volume whose content is the pod's.

    The pod may have put symbolic links there, even now: none is followed, so nothing is made
    outside.  What is there already is left for the mount to judge.

    Raises:
        Rejected: The path cannot be made.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as opened:
        try:
            parent = os.open(directory, flags)
            opened.callback(os.close, parent)
            for part in path.split("/"):
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=parent)
                parent = os.open(part, flags, dir_fd=parent)
                opened.callback(os.close, parent)
        except NotADirectoryError:
            return
        except OSError as error:
            raise Rejected(f"cannot make {path!r} in the volume: {error.strerror}") from error


def write_files(directory: Path, files: Files) -> bool:
    """Make a volume's directory contain exactly these files; tell whether anything changed.

    Raises:
        Unavailable: The disk refuses, or one file's path goes through another file.
    """
    try:
        return _write_files(directory, files)
    except OSError as error:
        what = f"volume {directory.name!r} cannot be written: {error.strerror}"
        raise Unavailable(what) from error


def _write_files(directory: Path, files: Files) -> bool:
    directory.mkdir(parents=True, exist_ok=True)
    version = f"..{_digest(files)}"
    link = directory / DATA
    before = str(link.readlink()) if link.is_symlink() else ""
    if before == version:
        return False
    fresh = directory / version
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for path, file in files.items():
        target = fresh / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    temporary = directory / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(version)
    temporary.replace(link)
    _link_names(directory, {path.split("/", 1)[0] for path in files})
    if before:
        shutil.rmtree(directory / before, ignore_errors=True)
    return True


def _digest(files: Files) -> str:
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        digest.update(f"{path}\0{file.mode}\0{len(file.content)}\0".encode() + file.content)
    return digest.hexdigest()[:16]


def _link_names(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
