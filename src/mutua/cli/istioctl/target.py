"""Which pod does `[TYPE/]NAME[.NAMESPACE]` mean?"""

from dataclasses import dataclass

from lightkube import ApiError, Client

from mutua.api.object import Object
from mutua.cli.istioctl.sidecar import PROXY
from mutua.cli.kubectl.pods import find_pod
from mutua.foundation.errors import Rejected
from mutua.store.port import NotFound


@dataclass(frozen=True, slots=True)
class Target:
    """What an argument names.

    Attributes:
        type: The word before the slash, "" for a bare name.
        name: The object's name.
        namespace: Where it is.
    """

    type: str
    name: str
    namespace: str

    @property
    def resource(self) -> str:
        """`TYPE/NAME`, as kubectl takes it."""
        return f"{self.type}/{self.name}" if self.type else self.name


def parse_target(text: str, namespace: str) -> Target:
    """Read `[TYPE/]NAME[.NAMESPACE]`.

    Args:
        text: The argument.
        namespace: For an argument that names none.

    Raises:
        Rejected: It is not of that form.
    """
    word, slash, rest = text.rpartition("/")
    name, dot, where = rest.rpartition(".")
    if not dot:
        name, where = rest, namespace
    if not name or not where or (slash and not word) or "/" in word:
        raise Rejected(f"{text!r} is not [TYPE/]NAME[.NAMESPACE], such as: deploy/web.shop")
    return Target(word, name, where)


def resolve(client: Client, target: Target) -> Object:
    """Return the pod that a target means; a running one if there is one.

    Raises:
        NotFound: There is no such object.
        Rejected: Its kind has no pods.
        Unavailable: It has no pods now.
    """
    try:
        return find_pod(client, target.resource, target.namespace)
    except ApiError as error:
        if error.status.code != 404:
            raise
        message = f"{error.status.message} in namespace {target.namespace!r}"
        raise NotFound(message) from error


def require_proxy(pod: Object) -> Object:
    """Return the pod if it has a sidecar.

    Raises:
        Rejected: It has none, so there is nothing to ask.
    """
    if not has_proxy(pod):
        raise Rejected(f"pod {full_name(pod)} has no sidecar (no container {PROXY})")
    return pod


def has_proxy(pod: Object) -> bool:
    """Tell whether a pod has a sidecar."""
    return any(one["name"] == PROXY for one in pod["spec"]["containers"])


def full_name(pod: Object) -> str:
    """Return `pod.namespace`, as Istio's tools call a proxy."""
    return f"{pod['metadata']['name']}.{pod['metadata']['namespace']}"
