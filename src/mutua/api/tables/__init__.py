"""The schemas of all kinds, by name of the kind."""

from collections.abc import Mapping
from typing import Final

from mutua.api.shape import Struct
from mutua.api.tables import istio

SCHEMAS: Final[Mapping[str, Struct]] = {
    schema.name: schema
    for schema in (
        istio.PEER_AUTHENTICATION,
        istio.AUTHORIZATION_POLICY,
        istio.DESTINATION_RULE,
    )
}
