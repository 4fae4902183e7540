"""Which settings does the mesh follow?  For commands that build the model themselves."""

from typing import Any, Final

import click

from mutua.api.object import CONFIG_MAPS, Object
from mutua.api.validation.mesh_config import NAME, NAMESPACE, is_mesh_config, read_mesh_config
from mutua.api.verdict import Invalid
from mutua.cli.client import list_objects
from mutua.model.settings import MeshSettings

DEFAULTS: Final = MeshSettings()


def stored_mesh_config(client: Any) -> list[Object]:
    """Return ConfigMap `istio` as stored, nothing when there is none."""
    return list(filter(is_mesh_config, list_objects(client, CONFIG_MAPS, NAMESPACE)))


def read_settings(client: Any, defaults: MeshSettings = DEFAULTS) -> MeshSettings:
    """Return the settings in ConfigMap `istio`, the defaults when there is none.

    One that cannot be read, which only a store of somebody else's holds, is said and left out.
    """
    found = stored_mesh_config(client)
    try:
        return read_mesh_config(next(iter(found), None), defaults)
    except Invalid as error:
        click.echo(f"Warning: configmap {NAMESPACE}/{NAME}: {error}; defaults assumed", err=True)
        return defaults
