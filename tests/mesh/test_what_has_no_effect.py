"""What changes nothing is said everywhere one looks: at apply, in status, in Events, in the log."""

from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {sidecar.istio.io/nativeSidecar: "false"}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: a, image: x, command: [sleep, '600']}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
"""

LATER = """
apiVersion: v1
kind: Service
metadata: {name: raw, namespace: shop}
spec: {selector: {app: web}, ports: [{name: tcp, port: 81, targetPort: 8080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: bank, namespace: shop}
data: {tls.crt: YQ==, ca.crt: Yg==}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  workloadSelector: {matchLabels: {app: web}}
  trafficPolicy:
    tls: {mode: MUTUAL, credentialName: bank}
    portLevelSettings: [{port: {number: 9}, tls: {mode: DISABLE}}]
"""

NO_PORT = "spec.trafficPolicy.portLevelSettings: web has no port 9: this entry changes nothing"
NO_KEY = "Secret shop/bank has no tls.key"
CONFLICT = (
    "port 81 and port 80 of the older Service web lead to port 8080 of the same pods and disagree "
    "on its protocol (TCP, HTTP): HTTP counts"
)


@pytest.fixture(scope="module")
def told(mesh: RunningMesh) -> str:
    """Apply everything, the younger Service a second later, and return the warnings."""
    warnings = mesh.kubectl("apply", "-f", "-", stdin=OBJECTS).stderr
    created = mesh.get("service", "web", "-n", "shop")["metadata"]["creationTimestamp"]
    eventually(lambda: _now(mesh) > created, "a later second")
    return warnings + mesh.kubectl("apply", "-f", "-", stdin=LATER).stderr


def _now(mesh: RunningMesh) -> str:
    probe = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: clock}\n"
    mesh.kubectl("delete", "configmap", "clock", "--ignore-not-found")
    mesh.apply(probe)
    return str(mesh.get("configmap", "clock")["metadata"]["creationTimestamp"])


def test_at_apply(told: str) -> None:
    path = "metadata.annotations[sidecar.istio.io/nativeSidecar]"
    assert f"Warning: {path}: has no effect: the proxy always starts before" in told
    assert NO_PORT in told
    assert NO_KEY in told
    assert "disagree on its protocol" in told


def test_in_the_status_and_in_the_log_while_it_lasts(mesh: RunningMesh, told: str) -> None:
    def ignored() -> str:
        rule = mesh.get("dr", "web", "-n", "shop")
        conditions: list[Any] = (rule.get("status") or {}).get("conditions") or []
        return next((one["message"] for one in conditions if one["type"] == "Ignored"), "")

    eventually(lambda: NO_PORT in ignored() and NO_KEY in ignored(), "both are in the status")
    for words in (NO_KEY, NO_PORT):
        eventually(lambda words=words: words in mesh.daemon_log(), f"{words}: it is logged")

    mesh.apply(LATER.replace("ca.crt: Yg==", "ca.crt: Yg==, tls.key: Yw=="))
    eventually(lambda: NO_KEY not in ignored(), "the Secret is whole")
    mesh.apply(LATER)


def test_in_an_event_on_the_younger_service(mesh: RunningMesh, told: str) -> None:
    def events() -> list[str]:
        found = mesh.get("events", "-n", "shop")["items"]
        return [
            one["message"]
            for one in found
            if (one["involvedObject"]["name"], one["reason"]) == ("raw", "PortConflict")
        ]

    eventually(events, "there is an event")
    assert events() == [CONFLICT]
    eventually(lambda: CONFLICT in mesh.daemon_log(), "it is logged")


def test_by_analyze(mesh: RunningMesh, told: str) -> None:
    said = mesh.mutua("istioctl", "analyze", "-n", "shop", check=False).stdout

    for code in ("IST0116", "MUT0115", "MUT0117"):
        assert f"[{code}]" in said
