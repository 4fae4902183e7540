"""Read from the API what a plan is made from."""

from lightkube import ApiError, Client

from mutua.api.kinds import kind_of
from mutua.api.object import CONFIG_MAPS
from mutua.cli.client import resource_class
from mutua.cli.duration import parse_duration
from mutua.cli.mesh import read_objects
from mutua.cli.mesh_settings import read_settings
from mutua.cli.strict.roll import NOT_FOUND
from mutua.cli.strict.survey import READ, Survey
from mutua.controlplane.ledger.watch import NAME, Watched, from_config_map
from mutua.foundation.clock import SystemClock


def read_survey(client: Client, patience: str | None) -> Survey:
    """Read the mesh.

    Args:
        client: The way to the API.
        patience: How long a caller may be silent and still count, None for ever.

    Raises:
        Rejected: `patience` is no time.
    """
    limit = parse_duration(patience) if patience else None
    return Survey(read_objects(client, READ), SystemClock().now(), limit, read_settings(client))


def read_watched(client: Client, namespace: str) -> Watched | None:
    """Return what the ledger is based on; None when there is none."""
    try:
        found = client.get(resource_class(kind_of(CONFIG_MAPS)), NAME, namespace=namespace)
        return from_config_map(found)
    except ApiError as error:
        if error.status.code == NOT_FOUND:
            return None
        raise
