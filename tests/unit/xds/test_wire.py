"""Bytes made by hand are the bytes protobuf would read."""

from hypothesis import given
from hypothesis import strategies as st

from mutua.xds.proto import Any, Cluster, DeltaDiscoveryRequest, DeltaDiscoveryResponse
from mutua.xds.proto import Resource as ResourceMessage
from mutua.xds.resource import CLUSTER, resource
from mutua.xds.subscription import Request, Response
from mutua.xds.wire import decode_request, encode_response


@given(
    bodies=st.dictionaries(st.text(min_size=1, max_size=300), st.binary(max_size=400), max_size=4),
    removed=st.lists(st.text(max_size=20), max_size=3),
)
def test_a_response_reads_back(bodies: dict[str, bytes], removed: list[str]) -> None:
    resources = tuple(resource(name, body) for name, body in bodies.items())
    response = Response(type_url=CLUSTER, nonce="7", resources=resources, removed=tuple(removed))

    assert DeltaDiscoveryResponse.FromString(encode_response(response, "42")) == (
        DeltaDiscoveryResponse(
            system_version_info="42",
            type_url=CLUSTER,
            nonce="7",
            removed_resources=removed,
            resources=[
                ResourceMessage(
                    name=one.name,
                    version=one.version,
                    resource=Any(type_url=CLUSTER, value=one.body),
                )
                for one in resources
            ],
        )
    )


def test_a_long_body_keeps_its_length() -> None:
    cluster = Cluster(name="x" * 100_000)
    one = resource(cluster.name, cluster.SerializeToString())
    response = Response(type_url=CLUSTER, nonce="1", resources=(one,), removed=())

    (read,) = DeltaDiscoveryResponse.FromString(encode_response(response, "1")).resources

    assert Cluster.FromString(read.resource.value) == cluster


def test_a_request_keeps_all_that_matters() -> None:
    message = DeltaDiscoveryRequest(
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="9",
    )
    message.error_detail.code = 13

    request = decode_request(message.SerializeToString())

    assert request == Request(
        type_url=CLUSTER,
        subscribe=("a",),
        unsubscribe=("b",),
        versions={"c": "1"},
        nonce="9",
        error="code 13",
    )
