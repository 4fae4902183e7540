"""Which backends a Service's port has, row by row."""

from typing import Any

import pytest

from mutua.api.object import Object
from mutua.runtime.network.rules import Backend, ServiceAddress
from mutua.runtime.network.service_objects import service_table

WEB = ServiceAddress("10.96.0.1", 80)


def service(**spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "foo", "name": "web"},
        "spec": {"clusterIP": "10.96.0.1", "ports": ports} | spec,
    }


def endpoint(address: str, **conditions: bool | None) -> Object:
    return {"addresses": [address], "conditions": conditions}


def endpoint_slice(*endpoints: Object, **fields: Any) -> Object:
    return {
        "metadata": {"namespace": "foo", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    } | fields


READY = endpoint("10.244.0.2", ready=True)
UNREADY = endpoint("10.244.0.3", ready=False, serving=False, terminating=False)
LEAVING = endpoint("10.244.0.4", ready=False, serving=True, terminating=True)
UNKNOWN = endpoint("10.244.0.5", ready=None)

# fmt: off
BACKENDS = [
    pytest.param([], [], id="no slice: none"),
    pytest.param([endpoint_slice(READY)], ["10.244.0.2"], id="a ready endpoint"),
    pytest.param([endpoint_slice(UNREADY)], [], id="an unready one does not count"),
    pytest.param([endpoint_slice(UNKNOWN)], ["10.244.0.5"], id="unknown readiness is ready"),
    pytest.param([endpoint_slice(READY, LEAVING)], ["10.244.0.2"], id="a leaving one is spared"),
    pytest.param([endpoint_slice(LEAVING, UNREADY)], ["10.244.0.4"], id="unless it is the last"),
    pytest.param([endpoint_slice(READY), endpoint_slice(UNKNOWN)], ["10.244.0.2", "10.244.0.5"],
                 id="all slices count"),
    pytest.param([endpoint_slice(READY), endpoint_slice(READY)], ["10.244.0.2"], id="once each"),
    pytest.param([endpoint_slice(READY, addressType="IPv6")], [], id="IPv6 slices do not count"),
    pytest.param([endpoint_slice(READY, ports=[{"name": "other", "port": 8080}])], [],
                 id="another port's endpoints do not count"),
    pytest.param([endpoint_slice(READY, ports=[{"name": "http", "port": 8080}])], ["10.244.0.2"],
                 id="the protocol is TCP unless said"),
    pytest.param([endpoint_slice(READY, metadata={"namespace": "bar", "labels": {
        "kubernetes.io/service-name": "web"}})], [], id="another namespace's do not count"),
    pytest.param([endpoint_slice(endpoint("not an address", ready=True))], [],
                 id="nonsense is left out"),
]
# fmt: on


@pytest.mark.parametrize(("slices", "addresses"), BACKENDS)
def test_backends(slices: list[Object], addresses: list[str]) -> None:
    expected = tuple(Backend(address, 8080) for address in addresses)

    assert service_table([service()], slices) == {WEB: expected}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"clusterIP": "None"}, id="headless"),
        pytest.param({"clusterIP": ""}, id="not allocated yet"),
        pytest.param({"type": "ExternalName", "externalName": "example.com"}, id="an alias"),
        pytest.param({"ports": [{"port": 80, "protocol": "SCTP"}]}, id="SCTP"),
    ],
)
def test_a_service_without_an_address_has_no_row(spec: dict[str, Any]) -> None:
    assert service_table([service(**spec)], [endpoint_slice(READY)]) == {}


def test_ports_lead_to_the_slice_port_of_the_same_name() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    offered = [{"name": "http", "port": 8080}, {"name": "dns", "port": 5353, "protocol": "UDP"}]

    table = service_table([service(ports=ports)], [endpoint_slice(READY, ports=offered)])

    assert table == {
        WEB: (Backend("10.244.0.2", 8080),),
        ServiceAddress("10.96.0.1", 53, "udp"): (Backend("10.244.0.2", 5353),),
    }
