"""The CustomResourceDefinitions of Istio's kinds, as objects that can be listed and waited for.

They follow from the schemas of this version of mutua, so they are brought up to date whenever the
API server starts; nobody else may write them.
"""

from mutua.api.crds import custom_resource_definitions
from mutua.api.object import CUSTOM_RESOURCE_DEFINITIONS
from mutua.foundation.clock import Clock, rfc3339
from mutua.store.port import NotFound, ObjectStore


async def publish_definitions(store: ObjectStore, clock: Clock) -> None:
    """Make the stored definitions those of this version.

    Args:
        store: Where they are published.
        clock: When they became established, if they are new.
    """
    for wanted in custom_resource_definitions(rfc3339(clock.now())):
        try:
            found = await store.get(CUSTOM_RESOURCE_DEFINITIONS, "", wanted["metadata"]["name"])
        except NotFound:
            await store.create(CUSTOM_RESOURCE_DEFINITIONS, wanted)
            continue
        if found["spec"] != wanted["spec"]:
            await store.update(CUSTOM_RESOURCE_DEFINITIONS, found | {"spec": wanted["spec"]})
