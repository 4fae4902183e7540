"""Two opinions on PeerAuthentication: what the evaluator says, and what the listener would do."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutua.api.object import ENDPOINT_SLICES, PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.api.security import MutualTlsMode
from mutua.model.build import build_snapshot
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import InboundPort, Workload
from mutua.policy.auto_mtls import client_decision
from mutua.policy.peer_authentication import Subject, effective_mode
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service
from mutua.testing.truth_table import LABELS, TABLE, Row
from mutua.xds.compile import compile_proxy
from mutua.xds.proto import Cluster, ClusterLoadAssignment, Listener
from mutua.xds.resource import CLUSTER, ENDPOINT, LISTENER

ROOT = "istio-system"
PORTS = (8080, 8081, 8082, 7000)  # the last is not exposed by the Service

selectors = st.sampled_from([None, None, {}, {"app": "web"}, {"app": "web", "tier": "a"}])
set_modes = st.sampled_from(["DISABLE", "PERMISSIVE", "STRICT"])
any_modes = set_modes | st.sampled_from(["UNSET", None])


@st.composite
def policies(draw: st.DrawFn) -> list[Object]:
    made = []
    for number in range(draw(st.integers(0, 6))):
        labels = draw(selectors)
        spec: dict[str, Any] = {} if labels is None else {"selector": {"matchLabels": labels}}
        if labels and draw(st.booleans()):
            ports = st.sampled_from([str(port) for port in PORTS])
            modes = any_modes.map(lambda mode: {"mode": mode} if mode else {})
            spec["portLevelMtls"] = draw(st.dictionaries(ports, modes, min_size=1))
        made.append(
            peer_authentication(
                draw(st.sampled_from(["shop", ROOT, "shop", "other"])),
                draw(any_modes),
                name=f"p{number}",
                created=f"2026-01-01T00:00:0{draw(st.integers(0, 1))}Z",
                **spec,
            )
        )
    return made


def mesh(found: list[Object], namespace: str, labels: dict[str, str]) -> MeshSnapshot:
    web = pod(namespace, "web", "10.244.0.2", labels=labels)
    plain = pod(namespace, "plain", "10.244.0.3", labels={"app": "web"}, meshed=False)
    ports = ({"name": n, "port": p} for n, p in zip(("http", "tcp", "x"), PORTS, strict=False))
    owner = service(namespace, "web", *ports)
    return build_snapshot(
        {
            PODS: [web, plain],
            SERVICES: [owner],
            ENDPOINT_SLICES: [endpoint_slice(owner, [web, plain])],
            PEER_AUTHENTICATIONS: found,
        }
    )


meshes = st.builds(
    mesh,
    policies(),
    st.sampled_from(["shop", "shop", "shop", ROOT]),
    st.sampled_from([{}, {"tier": "a"}]),
)


def listener_mode(listener: Any, port: int) -> MutualTlsMode:
    """Read from its filter chains what a listener demands on a port."""
    own = [c for c in listener.filter_chains if c.filter_chain_match.destination_port.value == port]
    others = [
        c for c in listener.filter_chains if not c.filter_chain_match.HasField("destination_port")
    ]
    chains = own or others
    terminates = any(chain.HasField("transport_socket") for chain in chains)
    plain = any(c.filter_chain_match.transport_protocol == "raw_buffer" for c in chains)
    if terminates:
        return MutualTlsMode.PERMISSIVE if plain else MutualTlsMode.STRICT
    return MutualTlsMode.DISABLE


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("declared", [True, False])
def test_the_listener_follows_the_truth_table(row: Row, declared: bool) -> None:
    workload = Workload(
        uid="u",
        namespace="x",
        name="foo",
        address="",
        labels=LABELS,
        service_account="foo",
        container_ports={},
    )
    snapshot = MeshSnapshot(
        settings=MeshSettings(),
        services=(),
        workloads={"u": workload},
        endpoints={},
        inbound_ports={"u": (InboundPort(row.port, Protocol.HTTP),) if declared else ()},
        peer_authentications=row.policies,
    )

    listener = Listener.FromString(compile_proxy(snapshot, "u")[LISTENER]["virtualInbound"].body)

    assert listener_mode(listener, row.port) is row.expected


@settings(deadline=None, max_examples=200)
@given(meshes)
def test_the_listener_demands_what_the_evaluator_says(snapshot: MeshSnapshot) -> None:
    for workload in snapshot.workloads.values():
        body = compile_proxy(snapshot, workload.uid)[LISTENER]["virtualInbound"].body
        listener = Listener.FromString(body)
        for port in PORTS:
            subject = Subject(namespace=workload.namespace, labels=workload.labels, port=port)
            decision = effective_mode(snapshot.peer_authentications, subject, root_namespace=ROOT)
            assert listener_mode(listener, port) is decision.mode


@settings(deadline=None, max_examples=200)
@given(meshes)
def test_clients_use_mtls_where_the_evaluator_says(snapshot: MeshSnapshot) -> None:
    uid = next(iter(snapshot.workloads))
    compiled = compile_proxy(snapshot, uid)
    for owner, by_port in snapshot.endpoints.items():
        for port, endpoints in by_port.items():
            name = f"outbound|{port}||{owner.name}.{owner.namespace}.svc.cluster.local"
            cluster = Cluster.FromString(compiled[CLUSTER][name].body)
            assigned = ClusterLoadAssignment.FromString(compiled[ENDPOINT][name].body)
            sent = {
                entry.endpoint.address.socket_address.address: bool(
                    cluster.transport_socket_matches and entry.metadata.filter_metadata
                )
                for entry in itertools.chain(*(group.lb_endpoints for group in assigned.endpoints))
            }
            expected = {
                endpoint.address: client_decision(
                    snapshot.peer_authentications,
                    endpoint,
                    service_namespace=owner.namespace,
                    settings=snapshot.settings,
                ).mutual_tls
                for endpoint in endpoints
            }
            assert sent == expected
