"""What has a proxy made of what it was sent?  Said as Istio's /debug/syncz says it.

A type's status is the stream's, with one addition: what a proxy refused stays an ERROR while the
object that caused it is as it was, also when the mesh has gone back to the state before it.
"""

from collections.abc import Iterable
from typing import Any

from mutua.controlplane.quarantine import Refusal
from mutua.xds.feed import Feed
from mutua.xds.subscription import SyncState

GenericXdsConfig = dict[str, Any]
"""The fields `typeUrl`, `configStatus` and `errorState.details` of Envoy's message.

Source: envoy.service.status.v3.ClientConfig.GenericXdsConfig."""


def sync_status(feed: Feed, refusals: Iterable[Refusal]) -> list[GenericXdsConfig]:
    """Return one entry per type that a proxy subscribed to; none while it is not connected.

    Args:
        feed: What it should have.
        refusals: What it refuses of the objects' present states.
    """
    said = {(one.type_url, one.resource): one.message for one in refusals}
    said |= {(one.type_url, one.name): one.message for one in feed.progress.rejections}
    found = []
    for type_url, state in feed.states.items():
        errors = [f"{name}: {text}" for (kind, name), text in said.items() if kind == type_url]
        found.append(_config(type_url, state, "; ".join(errors)))
    return found


def _config(type_url: str, state: SyncState, details: str) -> GenericXdsConfig:
    if not details:
        return {"typeUrl": type_url, "configStatus": state.value}
    error = {"errorState": {"details": details}}
    return {"typeUrl": type_url, "configStatus": SyncState.ERROR.value, **error}
