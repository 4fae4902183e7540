"""Services that do not fit together are told once per change."""

import logging

import pytest

from mutua.api.object import Object
from mutua.controlplane.port_conflicts import PortConflicts
from mutua.model.build import build_snapshot
from mutua.model.snapshot import MeshSnapshot
from mutua.testing.mesh import by_resource, pod, service

LATER = "2026-01-02T00:00:00Z"
WEB = service("shop", "web", {"name": "http", "port": 80, "targetPort": 8080})


def younger(name: str, port: int) -> Object:
    made = service("shop", "raw", {"name": name, "port": port, "targetPort": 8080}, created=LATER)
    made["spec"]["selector"] = {"app": "web"}
    return made


def state(*services: Object) -> MeshSnapshot:
    pods = [pod("shop", name, labels={"app": "web"}) for name in ("web-1", "web-2")]
    return build_snapshot(by_resource(*pods, *services))


class Told:
    """Objects by name, and the Events that were made of them."""

    def __init__(self, *objects: Object) -> None:
        self._objects = {one["metadata"]["name"]: one for one in objects}
        self.events: list[tuple[str, str, str, str]] = []

    def find(self, _namespace: str, name: str) -> Object | None:
        return self._objects.get(name)

    def report(self, obj: Object, severity: str, reason: str, message: str) -> None:
        self.events.append((obj["metadata"]["name"], severity, reason, message))


BEGIN = "port 80 of the older Service web lead to port 8080 of the same pods"
CASES = [
    ("tcp", 80, f"port 80 and {BEGIN} and disagree on its protocol (TCP, HTTP): HTTP counts"),
    ("tcp", 81, f"port 81 and {BEGIN} and disagree on its protocol (TCP, HTTP): HTTP counts"),
    ("http", 81, f"port 81 and {BEGIN} under different numbers"),
    ("http", 80, None),
]


@pytest.mark.parametrize(("name", "port", "text"), CASES)
def test_the_younger_service_is_told(name: str, port: int, text: str | None) -> None:
    raw = younger(name, port)
    told = Told(WEB, raw)
    conflicts = PortConflicts(told.find, told.report)

    conflicts.examine(state(WEB, raw))

    assert told.events == ([("raw", "Warning", "PortConflict", text)] if text else [])
    assert conflicts.protocol_conflicts == (name == "tcp")


def test_it_is_told_once_per_change_and_so_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    raw = younger("tcp", 80)
    told = Told(WEB, raw)
    conflicts = PortConflicts(told.find, told.report)

    for services in ((WEB, raw), (WEB, raw), (WEB,), (WEB, raw)):
        conflicts.examine(state(*services))

    assert len(told.events) == 2
    assert [one.getMessage() for one in caplog.records] == [
        "services conflict",
        "services fit together again",
        "services conflict",
    ]
