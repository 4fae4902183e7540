"""Evaluator and compiler, two readings of one specification, agree on meshes nobody thought of."""

import os
from itertools import product

from hypothesis import given, settings

from mutua.api.destination import TlsMode
from mutua.model.service import Service, ServicePort
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Endpoint, Workload
from mutua.policy.destination_rule import MergedRule, find_rule, is_in_subset
from mutua.policy.inbound import (
    declared_protocol,
    wait_for_first_bytes,
    what_becomes_of,
    what_is_demanded,
)
from mutua.policy.outbound import (
    Destination,
    Sends,
    Sent,
    endpoint_flag,
    is_addressed,
    is_exported,
    what_is_sent,
)
from mutua.testing.filter_chains import InboundListener
from mutua.testing.generated_meshes import SUBSETS, TARGETS, UNDECLARED, generated_meshes
from mutua.testing.shared_ports import OPENED, chosen, meant
from mutua.testing.transport_sockets import OutboundCluster, Place, Wire, outbound_cluster
from mutua.testing.truth_table_inbound import ARRIVALS
from mutua.xds.compile import Compiler
from mutua.xds.resource import ProxyResources

MODES = {
    Sends.PLAINTEXT: TlsMode.DISABLE.value,
    Sends.SIMPLE: TlsMode.SIMPLE.value,
    Sends.MUTUAL: TlsMode.MUTUAL.value,
    Sends.ISTIO_MUTUAL: TlsMode.ISTIO_MUTUAL.value,
}


@settings(max_examples=10_000 if "MUTUA_DEEP" in os.environ else 200)
@given(generated_meshes())
def test_clients_send_what_the_evaluator_says(mesh: MeshSnapshot) -> None:
    compiler = Compiler()
    for client in mesh.workloads.values():
        if client.accepts_mutual_tls:
            compiled = compiler.compile(mesh, client.uid)
            for service in mesh.services:
                rule = find_rule(mesh.destination_rules, client, service, mesh.settings)
                for port in service.ports:
                    for subset in ("", *SUBSETS, "unknown"):
                        check(mesh, client, service, port, subset, rule, compiled)


def check(
    mesh: MeshSnapshot,
    client: Workload,
    service: Service,
    port: ServicePort,
    subset: str,
    rule: MergedRule | None,
    compiled: ProxyResources,
) -> None:
    """Compare both readings of one port of a subset, endpoint by endpoint."""
    endpoints = mesh.endpoints[service.id][port.number]
    somewhere = Endpoint("10.9.9.9", port.number, ready=True, workload=None)
    calls = [
        Destination(service=service, port=port, endpoint=one, subset=subset)
        for one in endpoints or [somewhere]
    ]
    cluster = outbound_cluster(compiled, f"outbound|{port.number}|{subset}|{service.hostname}")
    exists = is_exported(mesh, service, client.namespace) and (
        not subset or (rule is not None and subset in rule.subsets)
    )
    assert (cluster is not None) is exists
    if cluster is None:
        return
    assert cluster.is_addressed is is_addressed(calls[0], rule)
    if cluster.is_addressed:
        served = calls
    else:
        served = [to for to in calls if to.endpoint in endpoints and is_served(to, rule)]
        assert sorted(cluster.places(), key=str) == sorted(
            (place(mesh, to, rule) for to in served), key=str
        )
    for to in served:
        if cluster.is_addressed and to.endpoint.address == client.address:
            continue  # a pod's calls to its own address do not pass its proxy
        assert wire(cluster, to) == expected(what_is_sent(mesh, client, to))


def is_served(to: Destination, rule: MergedRule | None) -> bool:
    return to.endpoint.ready and is_in_subset(rule, to.subset, to.endpoint)


def place(mesh: MeshSnapshot, to: Destination, rule: MergedRule | None) -> Place:
    flagged = endpoint_flag(mesh, to, rule).mutual_tls
    return Place(to.endpoint.address, to.endpoint.port, flagged)


def wire(cluster: OutboundCluster, to: Destination) -> Wire:
    return cluster.wire(to.endpoint.address, to.endpoint.port)


def expected(sent: Sent) -> Wire:
    return Wire(MODES[sent.sends], sent.sni, sent.identities)


@given(generated_meshes())
def test_servers_do_what_the_evaluator_says(mesh: MeshSnapshot) -> None:
    compiler = Compiler()
    for server in mesh.workloads.values():
        if not server.accepts_mutual_tls:
            continue
        listener = InboundListener(compiler.compile(mesh, server.uid))
        for port in (*TARGETS, UNDECLARED):
            endpoint = Endpoint(server.address, port, ready=True, workload=server)
            demanded = what_is_demanded(mesh, endpoint)
            assert demanded is not None
            protocol = declared_protocol(mesh, endpoint)
            for arrival in ARRIVALS.values():
                outcome = what_becomes_of(arrival, demanded.mode, protocol)
                assert listener.outcome(port, arrival) is outcome
                wait = wait_for_first_bytes(arrival, demanded.mode, protocol, mesh.settings)
                assert listener.wait(port, arrival) == wait


@settings(max_examples=10_000 if "MUTUA_DEEP" in os.environ else 200)
@given(generated_meshes())
def test_connections_on_a_shared_port_go_where_they_are_meant_to(mesh: MeshSnapshot) -> None:
    compiler = Compiler()
    for client in mesh.workloads.values():
        if client.accepts_mutual_tls:
            compiled = compiler.compile(mesh, client.uid)
            for port, opened in product((80, 81, 443), OPENED):
                assert chosen(compiled, port, opened) == meant(mesh, client, port, opened)
