import pytest

from mutua.api.object import Object
from mutua.cli.kick import key_of

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
