"""Which pod, and which container, does `deploy/web` mean?"""

from typing import Any, Final

import click
from lightkube import Client

from mutua.api.kinds import kind_of
from mutua.api.object import (
    DEPLOYMENTS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    STATEFUL_SETS,
    Object,
    Resource,
)
from mutua.api.selectors import equality_selector, read_label_selector
from mutua.cli.client import list_objects, resource_class
from mutua.cli.kubectl.arguments import parse_kind
from mutua.foundation.errors import Rejected, Unavailable

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
"""Annotation that names the container commands mean when none is named."""

SELECTING: Final[tuple[Resource, ...]] = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, SERVICES)
"""Kinds that stand for their pods."""


def find_pod(client: Client, argument: str, namespace: str | None = None) -> Object:
    """Return the pod that NAME, pod/NAME or deploy/NAME means; a running one if there is one.

    Raises:
        Rejected: The kind has no pods.
        Unavailable: No pod is there (yet).
    """
    return find_pods(client, argument, namespace)[0]


def find_pods(client: Client, argument: str, namespace: str | None = None) -> list[Object]:
    """Return all pods that NAME, pod/NAME or deploy/NAME means, running ones first; at least one.

    Raises:
        Rejected: The kind has no pods.
        Unavailable: No pod is there (yet).
    """
    word, slash, name = argument.rpartition("/")
    kind = parse_kind(word)[0] if slash else kind_of(PODS)
    where = namespace or client.namespace
    owner: Any = client.get(resource_class(kind), name, namespace=where)
    if kind.resource == PODS:
        return [dict(owner)]
    if kind.resource not in SELECTING:
        raise Rejected(f"cannot find the pods of {argument}")
    written = owner["spec"].get("selector") or {}
    plain = kind.resource == SERVICES  # a Service's selector is a map, the others' a LabelSelector
    selector = equality_selector(written) if plain else read_label_selector(written)
    pods = list_objects(client, PODS, where)
    found = [pod for pod in pods if selector.matches(pod["metadata"].get("labels"))]
    found.sort(key=lambda pod: (pod.get("status") or {}).get("phase") != "Running")
    if not found:
        raise Unavailable(f"no pods of {argument} in namespace {where}")
    return found


def choose_container(pod: Object, asked: str | None) -> str:
    """Return the container that a command means; say so when it was a choice."""
    annotations = pod["metadata"].get("annotations") or {}
    names = [container["name"] for container in pod["spec"]["containers"]]
    chosen: str = asked or annotations.get(DEFAULT_CONTAINER) or names[0]
    if not asked and DEFAULT_CONTAINER not in annotations and len(names) > 1:
        click.echo(f'Defaulted container "{chosen}" out of: {", ".join(names)}', err=True)
    return chosen
