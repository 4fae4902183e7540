"""Hundreds of connections between real Envoys, each compared with the evaluator's verdict.

What is expected of a connection is what mutua.policy says; what is observed is seen by the program
at one end and by the application at the other.
"""

import asyncio
import itertools
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
)
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.model.workload import Workload
from mutua.testing.generated_meshes import CALLED_PORTS, CALLED_UNDECLARED, called_meshes
from mutua.testing.loopback_mesh import (
    PATIENCE,
    SILENCE,
    Application,
    Call,
    Servers,
    bind_pod,
    observe,
    start_applications,
    start_relays,
)
from mutua.testing.mesh import destination_rule, endpoint_slice, peer_authentication, pod, service
from mutua.testing.planned_calls import Planned, planned_calls
from mutua.xds.compile import Compiler

MODES: Final = ("STRICT", "PERMISSIVE", "DISABLE")
KINDS: Final = ("http", "tcp", "any", "https")
ATTEMPTS: Final = 3
"""Times that a call is made until it is as expected.  A proxy that has waited for first bytes in
vain goes on without them, also when the process that sends them stood still meanwhile."""

QUICK, DEEP = 3, 300
"""Generated meshes per run; MUTUA_DEEP in the environment asks for the many."""


def network() -> str:
    """Return the beginning of loopback addresses that nobody else uses."""
    chosen = random.Random(os.urandom(8))
    return f"127.{chosen.randrange(1, 255)}.{chosen.randrange(1, 250)}"


def mismatches(mesh: MeshSnapshot, ports: Iterable[int], folder: Path, envoys: Any) -> list[str]:
    """Run the mesh, make every call, and return what the evaluator was wrong about."""
    calls = list(planned_calls(mesh, CALLED_UNDECLARED))
    return asyncio.run(_run(mesh, calls, [*ports, CALLED_UNDECLARED], folder, envoys))


async def _run(
    mesh: MeshSnapshot, calls: list[Planned], ports: list[int], folder: Path, envoys: Any
) -> list[str]:
    with ExitStack() as processes:
        proxies = _start(mesh, ports, folder, envoys, processes)
        async with Servers() as running:
            servers = await start_applications(running, mesh.workloads.values(), ports)
            await start_relays(running, mesh)
            # One application is called by one at a time, so that what it sees is that one's.
            groups: dict[tuple[str, int], list[Planned]] = defaultdict(list)
            for call in calls:
                if not call.expected.silent and not _is_late(call):
                    groups[call.server].append(call)
            seen = await asyncio.gather(
                *(_one_by_one(group, servers, proxies) for group in groups.values())
            )
            # Nobody sees TLS of these: they may go on at once.
            quiet = [call for call in calls if call.expected.silent]
            late = [call for call in calls if _is_late(call) and not call.expected.silent]
            seen += await asyncio.gather(
                *(_one_by_one([call], servers, proxies, call.verdict.wait + SILENCE)
                  for call in quiet),
                *(_one_by_one([call], servers, proxies, call.verdict.wait + PATIENCE)
                  for call in late),
            )  # fmt: skip
    return list(itertools.chain(*seen))


def _is_late(call: Planned) -> bool:
    """Tell whether a proxy waits for the client's first bytes in vain, and no TLS follows."""
    return call.verdict.wait > 0 and not call.expected.handshakes


def _start(
    mesh: MeshSnapshot, ports: list[int], folder: Path, envoys: Any, processes: ExitStack
) -> dict[str, int]:
    """Start the proxy of every pod that has one; return their outbound ports by uid."""
    compiler, found = Compiler(), {}
    for one in mesh.workloads.values():
        if one.accepts_mutual_tls:
            adapt = partial(bind_pod, pod=one.address, ports=ports)
            directory = folder / one.uid
            directory.mkdir()
            started = envoys(one, directory, compiler.compile(mesh, one.uid), adapt)
            found[one.uid] = int(processes.enter_context(started).ports["virtualOutbound"])
    return found


async def _one_by_one(
    calls: list[Planned],
    servers: dict[tuple[str, int], Application],
    proxies: dict[str, int],
    patience: float = PATIENCE,
) -> list[str]:
    """Make calls one after the other, and tell which were not as expected.

    An answer that nobody may get is wrong the first time.
    """
    wrong = []
    for planned in calls:
        call = Call(
            proxy=proxies.get(planned.client.uid),
            address=planned.address,
            port=planned.port,
            host=planned.host,
            content=planned.content,
        )
        for _ in range(ATTEMPTS):
            seen = await observe(call, servers[planned.server], patience)
            if seen == planned.expected or (seen.answered and not planned.expected.answered):
                break
        if seen != planned.expected:
            who = f"{planned.client.uid} to {planned.host}:{planned.port}, {planned.content.name}"
            wrong.append(f"{who}: {planned.verdict.explain()}\n    {seen}")
    return wrong


@pytest.fixture(scope="session")
def envoys(envoy_for: Any, issuer: Any) -> Any:
    """Return what starts the proxy of a pod."""

    def start(pod: Workload, *arguments: Any) -> Any:
        shown = issuer.issue(pod.service_account, namespace=pod.namespace)
        directory, compiled, adapt = arguments
        return envoy_for(directory, compiled, shown.secrets(), adapt)

    return start


def systematic(network: str, foreign: Any) -> tuple[dict[Any, list[Object]], list[int]]:
    """Return every kind of port in every mode, called under every kind of rule."""
    files = {"caCertificates": str(foreign.roots)}
    own = {"clientCertificate": str(foreign.chain), "privateKey": str(foreign.key), **files}
    rules: dict[str, dict[str, Any] | None] = {
        "none": None,
        "off": {"tls": {"mode": "DISABLE"}},
        "istio": {"tls": {"mode": "ISTIO_MUTUAL"}},
        "stranger": {"tls": {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://a/b"]}},
        "simple": {"tls": {"mode": "SIMPLE", **files}},
        "mutual": {"tls": {"mode": "MUTUAL", "sni": "some.name", **own}},
    }
    ports = []
    modes = {}
    for (row, mode), (column, kind) in itertools.product(enumerate(MODES), enumerate(KINDS)):
        for greets in (0, 1):
            number = 20000 + 100 * row + 10 * column + greets
            ports.append({"name": f"{kind}-{number}", "port": number})
            modes[str(number)] = {"mode": mode}
    web = pod("shop", "web", f"{network}.2")
    plain = pod("shop", "plain", f"{network}.3", meshed=False)
    objects: dict[Any, list[Object]] = {
        PODS: [pod("shop", "client", f"{network}.4"), web, plain],
        SERVICES: [],
        ENDPOINT_SLICES: [],
        DESTINATION_RULES: [],
        PEER_AUTHENTICATIONS: [
            peer_authentication(
                "shop",
                "PERMISSIVE",
                selector={"matchLabels": {"app": "web"}},
                portLevelMtls=modes | {str(CALLED_UNDECLARED): {"mode": "STRICT"}},
            )
        ],
    }
    for number, (name, policy) in enumerate(rules.items()):
        for server in (web, plain) if name in {"none", "istio", "simple"} else (web,):
            host = f"{server['metadata']['name']}-{name}"
            third = 200 + 2 * number + (server is plain)
            owner = service("shop", host, *ports, address=f"{network}.{third}")
            owner["spec"]["selector"] = {"app": server["metadata"]["name"]}
            objects[SERVICES].append(owner)
            objects[ENDPOINT_SLICES].append(endpoint_slice(owner, [server]))
            if policy is not None:
                objects[DESTINATION_RULES].append(destination_rule("shop", host, policy, name=host))
    return objects, [port["port"] for port in ports]


@pytest.mark.parametrize("detection_timeout", [0.0, 0.5])
def test_every_kind_of_port_in_every_mode_under_every_kind_of_rule(
    detection_timeout: float, tmp_path: Path, envoys: Any, stranger: Any
) -> None:
    objects, ports = systematic(network(), stranger.issue("somebody"))
    mesh = build_snapshot(objects, MeshSettings(detection_timeout=detection_timeout))

    wrong = mismatches(mesh, ports, tmp_path, envoys)

    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="session")
def tls(stranger: Any) -> list[dict[str, Any]]:
    """Return what rules of generated meshes say."""
    shown = stranger.issue("somebody")
    files = {"caCertificates": str(shown.roots)}
    own = {"clientCertificate": str(shown.chain), "privateKey": str(shown.key), **files}
    return [
        {"mode": "DISABLE"},
        {},
        {"mode": "ISTIO_MUTUAL"},
        {"mode": "ISTIO_MUTUAL"},
        {"mode": "ISTIO_MUTUAL", "sni": "x.y"},
        {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://cluster.local/ns/shop/sa/web"]},
        {"mode": "SIMPLE", **files},
        {"mode": "MUTUAL", "sni": "x.y", **own},
    ]


@settings(max_examples=DEEP if "MUTUA_DEEP" in os.environ else QUICK, phases=[Phase.generate])
@given(data=st.data())
def test_generated_meshes(
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    envoys: Any,
    tls: list[dict[str, Any]],
) -> None:
    mesh = data.draw(called_meshes(network(), tls))
    ports = [port["port"] for port in CALLED_PORTS]

    wrong = mismatches(mesh, ports, tmp_path_factory.mktemp("mesh"), envoys)

    assert not wrong, "\n".join(wrong)
