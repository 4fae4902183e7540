"""What live policies and rules say about themselves: that a proxy refused them."""

from collections.abc import Iterator
from typing import Final

from mutua.analysis.codes import NEGATIVE
from mutua.analysis.mesh import Mesh
from mutua.analysis.message import Message, origin_of
from mutua.api.object import DESTINATION_RULES, PEER_AUTHENTICATIONS

REJECTED: Final = "RejectedByProxy"
"""Reason of a condition that is False because an Envoy did not take the configuration."""


def analyze(mesh: Mesh) -> Iterator[Message]:
    """Yield the policies and rules that a proxy refused."""
    for resource in (PEER_AUTHENTICATIONS, DESTINATION_RULES):
        for obj in mesh.of_kind(resource):
            for condition in (obj.get("status") or {}).get("conditions") or ():
                is_refused = condition.get("reason") == REJECTED and condition["status"] == "False"
                if is_refused:
                    text = str(condition.get("message") or "a proxy refused it")
                    yield Message(code=NEGATIVE, origin=origin_of(obj), text=text)
