"""Which settings does the mesh follow?  For commands that build the model themselves."""

from typing import Any

import click

from mutua.api.object import CONFIG_MAPS
from mutua.api.validation.mesh_config import NAME, NAMESPACE, is_mesh_config, read_mesh_config
from mutua.api.verdict import Invalid
from mutua.cli.client import list_objects
from mutua.model.settings import MeshSettings


def read_settings(client: Any) -> MeshSettings:
    """Return the settings in ConfigMap `istio`, the defaults when there is none.

    One that cannot be read, which only a store of somebody else's holds, is said and left out.
    """
    found = filter(is_mesh_config, list_objects(client, CONFIG_MAPS, NAMESPACE))
    try:
        return read_mesh_config(next(found, None), MeshSettings())
    except Invalid as error:
        click.echo(f"Warning: configmap {NAMESPACE}/{NAME}: {error}; defaults assumed", err=True)
        return MeshSettings()
