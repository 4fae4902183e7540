"""The landscape of `mutua.testing.reachability`, running."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from mutua.api.object import (
    DESTINATION_RULES,
    ENDPOINT_SLICES,
    PEER_AUTHENTICATIONS,
    PODS,
    SERVICES,
    Object,
)
from mutua.api.validation.mesh_config import KEY, NAME, parse_mesh_config
from mutua.api.validation.mesh_config import NAMESPACE as CONFIG_NAMESPACE
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.model.snapshot import MeshSnapshot
from mutua.testing.reachability.landscape import (
    CERTIFICATE,
    CLIENT_NAME,
    NAMESPACE,
    Call,
    calls,
    objects,
)
from mutua.testing.reachability.probe import SERVER_NAME, Answer, Outcome, grown
from mutua.testing.running_mesh import RunningMesh

KINDS = {
    "Pod": PODS,
    "Service": SERVICES,
    "EndpointSlice": ENDPOINT_SLICES,
    "PeerAuthentication": PEER_AUTHENTICATIONS,
    "DestinationRule": DESTINATION_RULES,
}
"""What the evaluator decides from."""


Counts = dict[str, int]
"""What a proxy has counted, by the name of the counter."""


@dataclass(frozen=True)
class Report:
    """What was seen.

    Attributes:
        answers: What became of each call.
        counters: By client, what its proxy had counted before and after.
    """

    answers: dict[Call, Answer]
    counters: dict[str, tuple[Counts, Counts]]

    @property
    def clusters(self) -> dict[str, dict[str, tuple[int, int]]]:
        """By client, what its proxy did meanwhile: connections and TLS handshakes by cluster."""
        return {client: grown(*counted) for client, counted in self.counters.items()}

    def then(self, later: "Report") -> "Report":
        """Return this report with what calls that were made again have changed.

        A handshake that one call began may have ended for the next, and between their reports.
        """
        counted = {
            client: (self.counters.get(client, now)[0], now[1])
            for client, now in later.counters.items()
        }
        return Report(self.answers | later.answers, self.counters | counted)


class Landscape:
    """A running mesh with every call that is worth trying in it."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        self._settings = MeshSettings()
        pods = mesh.get("pods", "-n", NAMESPACE)["items"]
        addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods}
        self.calls = tuple(calls(addresses))

    def apply(self, policies: Sequence[Object]) -> None:
        """Apply policies and wait until they are in force."""
        if policies:
            text = _list(policies)
            self.mesh.apply(text)
            wait = ["wait", "--for=condition=InForce", "-f", "-", "--timeout=60s"]
            self.mesh.kubectl(*wait, stdin=text)

    def withdraw(self, policies: Sequence[Object]) -> None:
        """Delete policies."""
        if policies:
            self.mesh.kubectl("delete", "-f", "-", stdin=_list(policies))

    def snapshot(self) -> MeshSnapshot:
        """Return the mesh as the evaluator sees it, from what the API server has."""
        found = self.mesh.get(",".join(map(str, KINDS.values())), "-A")["items"]
        return build_snapshot(
            {
                resource: [one for one in found if one["kind"] == kind]
                for kind, resource in KINDS.items()
            },
            self._settings,
        )

    @contextmanager
    def settings(self, text: str) -> Iterator[None]:
        """Have the mesh follow a MeshConfig, "" for none, until the block ends."""
        if not text:
            yield
            return
        meta = {"name": NAME, "namespace": CONFIG_NAMESPACE}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {KEY: text}}
        self.mesh.apply(json.dumps(config))
        self._settings = parse_mesh_config(text, MeshSettings())
        try:
            yield
        finally:
            self._settings = MeshSettings()
            self.mesh.kubectl("delete", "configmap", NAME, "-n", CONFIG_NAMESPACE)

    def observe(self, calls: Sequence[Call], *, patience: float) -> Report:
        """Make calls, all at once, and say what became of them."""
        mine = defaultdict(list)
        for call in calls:
            mine[call.client].append(call)
        with ThreadPoolExecutor() as pool:
            reports = {
                client: pool.submit(self._ask, client, own, patience)
                for client, own in mine.items()
            }
        answers = {
            call: Answer(Outcome(answer.pop("outcome")), **answer)
            for client, own in mine.items()
            for call, answer in zip(own, reports[client].result()["answers"], strict=True)
        }
        counters = {name: tuple(one.result()["counters"]) for name, one in reports.items()}
        return Report(answers, counters)

    def _ask(self, client: str, calls: Sequence[Call], patience: float) -> Object:
        program = [sys.executable, "-m", "mutua.testing.reachability.probe", CERTIFICATE]
        argv = ["exec", "-i", "-n", NAMESPACE, client, "-c", "app", "--", *program, str(patience)]
        done = self.mesh.kubectl(*argv, stdin=json.dumps([asdict(call) for call in calls]))
        return json.loads(done.stdout)


def _list(items: Sequence[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def landscape(tmp_path_factory: pytest.TempPathFactory, self_signed: Any) -> Iterator[Landscape]:
    mesh = RunningMesh(Path(tmp_path_factory.mktemp("reach")), name="matrix")
    try:
        mesh.up()
        mesh.apply(_list(objects(self_signed(SERVER_NAME), self_signed(CLIENT_NAME))))
        for wait in ("rollout status sts/db", "wait --for=condition=Ready pod --all"):
            mesh.kubectl(*wait.split(), "-n", NAMESPACE, "--timeout=60s")
        yield Landscape(mesh)
    finally:
        mesh.mutua("down", "--purge")
    assert mesh.leftovers() == []
