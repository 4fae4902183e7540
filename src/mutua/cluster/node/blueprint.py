"""How is one container of a pod started?  From pod and container spec to a ContainerSpec.

Everything a container sees besides the host's own files: generated /etc files, a private /tmp,
volumes; and what it must not see: the mesh's own directories.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mutua.api.object import Object
from mutua.cluster.node.environment import Lookup, container_environment, expand
from mutua.cluster.node.images import find_command
from mutua.cluster.node.record import Record
from mutua.cluster.node.settings import NodeSettings
from mutua.cluster.node.sidecar import SidecarPlan
from mutua.cluster.node.volumes import inside, make_inside
from mutua.foundation.errors import Rejected
from mutua.runtime.spec import ContainerSpec, Mount

HOSTS: Final = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

NDOTS: Final = 5
"""Names with fewer dots are tried in the cluster first (kubelet's ClusterFirst)."""

LONGEST_HOSTNAME: Final = 63
"""Characters of a DNS label (RFC 1035)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a pod lives.

    Attributes:
        settings: The node's.
        pod: The pod.
        ip: Its address.
        netns: Path of its network namespace.
        lookup: ConfigMaps and Secrets of its namespace.
        catalogue: What images run.
    """

    settings: NodeSettings
    pod: Object
    ip: str
    netns: str
    lookup: Lookup
    catalogue: Mapping[str, tuple[str, ...]]

    @property
    def directory(self) -> Path:
        """The pod's volatile directory."""
        return self.settings.layout.pod(self.pod["metadata"]["uid"])

    @property
    def facts(self) -> dict[str, str]:
        """Fields of the downward API that only the node knows."""
        host = self.settings.address
        return {
            "status.podIP": self.ip,
            "status.podIPs": self.ip,
            "status.hostIP": host,
            "status.hostIPs": host,
            "spec.nodeName": self.settings.name,
        }

    @property
    def hostname(self) -> str:
        """The pod's host name."""
        name = self.pod["spec"].get("hostname") or self.pod["metadata"]["name"]
        return str(name)[:LONGEST_HOSTNAME].rstrip("-.")


def prepare_directories(place: Place, names: Sequence[str]) -> None:
    """Make the files that every container of a pod needs.  Idempotent."""
    etc = place.directory / "etc"
    etc.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(etc / "hosts", hosts_file(place))
    _write(etc / "resolv.conf", resolv_conf(place))
    _write(etc / "hostname", place.hostname + "\n")
    for name in names:
        private = place.directory / "containers" / name / "tmp"
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o1777)


def _write(path: Path, text: str) -> None:
    """Leave a file alone that is right: running containers read it."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def hosts_file(place: Place) -> str:
    """Return the pod's /etc/hosts."""
    spec = place.pod["spec"]
    names = [place.hostname]
    if spec.get("subdomain"):
        namespace = place.pod["metadata"]["namespace"]
        domain = f"{namespace}.svc.{place.settings.domain}"
        names.insert(0, f"{place.hostname}.{spec['subdomain']}.{domain}")
    aliases = [
        f"{alias['ip']}\t{' '.join(alias.get('hostnames') or [])}\n"
        for alias in spec.get("hostAliases") or []
    ]
    return HOSTS + f"{place.ip}\t{' '.join(names)}\n" + "".join(aliases)


def resolv_conf(place: Place) -> str:
    """Return the pod's /etc/resolv.conf (dnsPolicy ClusterFirst, plus dnsConfig)."""
    config = place.pod["spec"].get("dnsConfig") or {}
    servers, searches, options = [], [], {}
    if place.pod["spec"].get("dnsPolicy") != "None":
        domain = place.settings.domain
        namespace = place.pod["metadata"]["namespace"]
        servers = [place.settings.dns]
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
        options = {"ndots": str(NDOTS)}
    servers += config.get("nameservers") or []
    searches += config.get("searches") or []
    options |= {o["name"]: str(o.get("value") or "") for o in config.get("options") or []}
    words = [f"{name}:{value}" if value else name for name, value in options.items()]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(searches)}"] if searches else []
    lines += [f"options {' '.join(words)}"] if words else []
    return "\n".join(lines) + "\n"


def container_spec(place: Place, record: Record, plan: SidecarPlan | None) -> ContainerSpec:
    """Describe one attempt of a container.

    Args:
        place: Where the pod lives.
        record: The container; its current attempt is described.
        plan: How to run it when it is the sidecar.

    Raises:
        Rejected: The image is unknown, or the spec asks for what the node cannot do.
        SourceMissing: Its environment refers to something that does not exist.
    """
    container = record.spec
    env = _environment(place, container, plan)
    argv = plan.argv if plan else tuple(expand(word, env) for word in asked_command(place, record))
    metadata = place.pod["metadata"]
    logs = place.settings.log_directory(metadata["namespace"], metadata["name"], record.uid)
    return ContainerSpec(
        id=record.id,
        argv=argv,
        env=env,
        cwd=working_directory(container),
        netns=place.netns,
        hostname=place.hostname,
        mounts=_mounts(place, container, plan),
        hide=hidden(place.settings),
        log_path=str(logs / record.name / f"{record.attempt}.log"),
        capabilities=plan.capabilities if plan else (),
        annotations=annotations(place.pod, record),
    )


def annotations(pod: Object, record: Record) -> dict[str, str]:
    """Return what a container is known by when it is found again."""
    return {
        "mutua.io/namespace": pod["metadata"]["namespace"],
        "mutua.io/pod": pod["metadata"]["name"],
        "mutua.io/pod-uid": record.uid,
        "mutua.io/container": record.name,
        "mutua.io/attempt": str(record.attempt),
    }


def asked_command(place: Place, record: Record) -> tuple[str, ...]:
    """Return what a container runs, as written: its variables, which may be secret, are not in it.

    Raises:
        ImageUnknown: Neither the container nor the catalogue says what to run.
    """
    return find_command(record.spec, place.catalogue, python=place.settings.python)


def hidden(settings: NodeSettings) -> tuple[str, ...]:
    """Return the host paths that no container sees."""
    paths = (str(settings.layout.state), str(settings.layout.run), *settings.hide)
    return tuple(dict.fromkeys(name for path in paths for name in (path, os.path.realpath(path))))


def working_directory(container: Mapping[str, Any]) -> str:
    """Return where a container starts: with links resolved when that is the host's, below /tmp."""
    path = container.get("workingDir") or "/"
    real = os.path.realpath(path)
    return real if _is_hosts_below_tmp(real) else path


def _is_hosts_below_tmp(path: str) -> bool:
    return path.startswith("/tmp/") and Path(path).is_dir()  # noqa: S108 - the host's


def _kept_working_directory(settings: NodeSettings, container: Mapping[str, Any]) -> list[Mount]:
    """Show the host's working directory although it lies in /tmp, which is private.

    Programs come from the host, and so do the files they are started next to.

    Raises:
        Rejected: It belongs to a mesh.
    """
    path = working_directory(container)
    if not _is_hosts_below_tmp(path):
        return []
    if any(path == secret or path.startswith(f"{secret}/") for secret in hidden(settings)):
        raise Rejected(
            f"container {container['name']}: workingDir: {path} belongs to a mesh",
            hint="start it in another directory",
        )
    return [Mount(target=path, source=path, follow=False)]


def _environment(
    place: Place, container: Mapping[str, Any], plan: SidecarPlan | None
) -> dict[str, str]:
    asked = container_environment(container, place.pod, place.lookup, place.facts)
    base = {"PATH": place.settings.path, "HOSTNAME": place.hostname, "HOME": "/"}
    return {**base, **asked, **(plan.env if plan else {})}


def _mounts(
    place: Place, container: Mapping[str, Any], plan: SidecarPlan | None
) -> tuple[Mount, ...]:
    etc = place.directory / "etc"
    private = place.directory / "containers" / container["name"] / "tmp"
    mounts = [
        *(Mount(target=f"/etc/{name}", source=str(etc / name), read_only=True)
          for name in ("hosts", "resolv.conf", "hostname")),
        Mount(target="/tmp", source=str(private), owned=True),  # noqa: S108 - a private one
        *_kept_visible(place.settings),
    ]  # fmt: skip
    if plan is None:
        mounts += _kept_working_directory(place.settings, container)
    volumes = {volume["name"]: volume for volume in place.pod["spec"].get("volumes") or []}
    for wish in container.get("volumeMounts") or []:
        if plan is not None and wish["name"] not in volumes:
            continue
        mounts.append(_volume_mount(place, wish, volumes))
    return (*mounts, *(plan.mounts if plan else ()))


def _kept_visible(settings: NodeSettings) -> list[Mount]:
    """Programs installed below /tmp stay there although /tmp is private."""
    below = [path for path in settings.visible if path == "/tmp" or path.startswith("/tmp/")]  # noqa: S108
    return [Mount(target=path, source=path, read_only=True) for path in below]


def _volume_mount(
    place: Place, wish: Mapping[str, Any], volumes: Mapping[str, Mapping[str, Any]]
) -> Mount:
    volume = volumes.get(wish["name"])
    if volume is None:
        raise Rejected(f"volumeMounts names no volume of the pod: {wish['name']!r}")
    source = place.directory / "volumes" / wish["name"]
    sub_path = inside(wish["subPath"]) if wish.get("subPath") else ""
    if sub_path and "emptyDir" in volume:
        make_inside(source, sub_path)
    writable = "emptyDir" in volume and not wish.get("readOnly")
    return Mount(
        target=wish["mountPath"],
        source=str(source),
        inside=sub_path,
        read_only=not writable,
        owned=writable,
    )
