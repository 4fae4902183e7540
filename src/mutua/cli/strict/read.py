"""Read from the API what a plan is made from."""

from lightkube import ApiError, Client

from mutua.api.kinds import kind_of
from mutua.api.object import CONFIG_MAPS, Object
from mutua.api.validation import mesh_config
from mutua.cli.client import list_objects, resource_class
from mutua.cli.strict.roll import NOT_FOUND
from mutua.cli.strict.survey import READ, Survey
from mutua.cli.strict.target import parse_duration
from mutua.controlplane.ledger.watch import NAME, Watched, from_config_map
from mutua.foundation.clock import SystemClock
from mutua.model.settings import MeshSettings


def read_survey(client: Client, patience: str | None) -> Survey:
    """Read the mesh.

    Args:
        client: The way to the API.
        patience: How long a caller may be silent and still count, None for ever.

    Raises:
        Rejected: `patience` is no time.
    """
    limit = parse_duration(patience) if patience else None
    objects = {resource: list_objects(client, resource) for resource in READ}
    return Survey(objects, SystemClock().now(), limit, _settings(client))


def _settings(client: Client) -> MeshSettings:
    found = read_config_map(client, mesh_config.NAMESPACE, mesh_config.NAME)
    return mesh_config.read_mesh_config(found, MeshSettings())


def read_watched(client: Client, namespace: str) -> Watched | None:
    """Return what the ledger is based on; None when there is none."""
    found = read_config_map(client, namespace, NAME)
    return None if found is None else from_config_map(found)


def read_config_map(client: Client, namespace: str, name: str) -> Object | None:
    """Return a ConfigMap, None when there is none."""
    try:
        return dict(client.get(resource_class(kind_of(CONFIG_MAPS)), name, namespace=namespace))
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return None
        raise
