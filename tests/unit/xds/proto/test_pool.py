"""Envoy's messages come from one description file, in a pool of our own."""

import pytest

from mutua.xds.proto import (
    NAMES,
    Any,
    Cluster,
    Duration,
    RawBuffer,
    TransportSocket,
    from_json,
    message,
    pack,
    to_json,
    unpack,
)


@pytest.mark.parametrize("short", sorted(NAMES))
def test_every_short_name_has_a_message(short: str) -> None:
    assert message(NAMES[short]).DESCRIPTOR.full_name == NAMES[short]


def test_an_unknown_name_says_so() -> None:
    with pytest.raises(ImportError, match="NoSuchMessage"):
        from mutua.xds.proto import NoSuchMessage  # noqa: F401


def cluster() -> object:
    made = Cluster(
        name="outbound|80||a.b.svc.cluster.local",
        type=Cluster.STATIC,
        connect_timeout=Duration(seconds=10),
        transport_socket=TransportSocket(name="raw", typed_config=pack(RawBuffer())),
    )
    made.metadata.filter_metadata["istio"].update({"services": [{"name": "a"}]})
    return made


def test_json_round_trips_with_any_inside() -> None:
    assert from_json(NAMES["Cluster"], to_json(cluster())) == cluster()


def test_equal_messages_pack_to_equal_bytes() -> None:
    assert pack(cluster()).SerializeToString() == pack(cluster()).SerializeToString()
    assert unpack(pack(cluster())) == cluster()


def test_well_known_types_keep_their_conveniences() -> None:
    assert Any().Is is not None
    assert Duration(seconds=3).ToTimedelta().total_seconds() == 3
