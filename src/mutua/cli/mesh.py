"""The mesh as commands see it: objects of the API, and the model made from them."""

from collections.abc import Iterable
from typing import Any

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import READS, Mesh
from mutua.analysis.message import Message
from mutua.api.object import Object, Resource
from mutua.cli.client import list_objects
from mutua.cli.mesh_settings import read_settings
from mutua.model.build import INPUTS, build_snapshot
from mutua.model.snapshot import MeshSnapshot


def read_objects(client: Any, resources: Iterable[Resource]) -> dict[Resource, list[Object]]:
    """Return all objects of some kinds."""
    return {one: list_objects(client, one) for one in resources}


def read_snapshot(client: Any) -> MeshSnapshot:
    """Return the model of the mesh."""
    return build_snapshot(read_objects(client, INPUTS), read_settings(client))


def read_analysis(client: Any) -> tuple[MeshSnapshot, list[Message]]:
    """Return the model of the mesh, and what analysis says about it."""
    objects, settings = read_objects(client, READS), read_settings(client)
    return build_snapshot(objects, settings), analyze(Mesh(objects, settings))
