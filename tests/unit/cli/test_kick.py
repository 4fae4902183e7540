from typing import Any

import pytest

from mutua.api.object import Object
from mutua.cli.kick import key_of, require_ours
from mutua.foundation.errors import Rejected
from mutua.foundation.spiffe import SpiffeId

KICK: Object = {"spiffeID": "spiffe://cluster.local/ns/shop/sa/bad"}


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (KICK, {"spiffeID": "spiffe://td2/ns/shop/sa/bad"}, True),
        (KICK, {"spiffeID": "spiffe://cluster.local/ns/shop/sa/good"}, False),
        ({"serialNumber": "0A:ff"}, {"serialNumber": "aff"}, True),
        ({"serialNumber": "0A:ff"}, {"serialNumber": "affe"}, False),
        ({"pod": {"uid": "1", "name": "a"}}, {"pod": {"uid": "1", "name": "b"}}, True),
        ({"pod": {"uid": "1", "name": "a"}}, {"pod": {"uid": "2", "name": "a"}}, False),
    ],
)
def test_what_one_undo_takes_back(one: Object, other: Object, *, is_same: bool) -> None:
    assert (key_of(one) == key_of(other)) is is_same


class Api:
    """An API with the mesh's settings."""

    def __init__(self, text: str) -> None:
        self.text = text

    def list(self, _kind: Any, *, namespace: str) -> list[dict[str, Any]]:
        meta = {"namespace": namespace, "name": "istio"}
        return [{"metadata": meta, "data": {"mesh": self.text}}]


@pytest.mark.parametrize(
    ("settings", "is_ours"),
    [
        ("trustDomain: td2", True),
        ("trustDomain: td3\ntrustDomainAliases: [td2]", True),
        ("accessLogFile: ''", True),  # whatever the mesh was created with
        ("trustDomain: td3", False),
    ],
)
def test_another_meshs_identity_is_not_taken_for_one_of_this(
    settings: str, *, is_ours: bool
) -> None:
    identity = SpiffeId("td2", "shop", "web")
    if is_ours:
        require_ours(Api(settings), identity)
        return
    with pytest.raises(Rejected, match="whose trust domain is td3") as refused:
        require_ours(Api(settings), identity)
    assert "kick spiffe://td3/ns/shop/sa/web" in refused.value.hint
