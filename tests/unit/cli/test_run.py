"""Any program becomes a workload."""

import pytest

from mutua.cli.run import build_manifests
from mutua.foundation.errors import Rejected

PROGRAM = ("python3", "-m", "http.server", "8000")


def by_kind(manifests):
    return {manifest["kind"]: manifest for manifest in manifests}


def test_a_program_with_a_port_becomes_a_deployment_and_a_service() -> None:
    made = by_kind(build_manifests("shop", PROGRAM, cwd="/srv", name="web", port=8000))

    assert set(made) == {"Namespace", "ServiceAccount", "Deployment", "Service"}
    container = made["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == list(PROGRAM)
    assert container["workingDir"] == "/srv"
    assert made["Service"]["spec"]["ports"] == [{"name": "http", "port": 8000, "targetPort": 8000}]
    assert made["Service"]["spec"]["selector"] == {"app": "web"}
    assert made["Namespace"]["metadata"]["labels"] == {"istio-injection": "enabled"}


def test_a_program_without_a_port_has_no_service() -> None:
    assert "Service" not in by_kind(build_manifests("shop", PROGRAM, cwd="/", name="job"))


def test_the_name_defaults_to_the_programs() -> None:
    made = by_kind(build_manifests("shop", ("/opt/My_App.sh",), cwd="/"))

    assert made["Deployment"]["metadata"]["name"] == "my-app-sh"


def test_it_can_stay_outside_the_mesh() -> None:
    made = by_kind(build_manifests("shop", PROGRAM, cwd="/", no_sidecar=True))

    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels["sidecar.istio.io/inject"] == "false"


def test_a_variable_without_an_equals_sign_is_named() -> None:
    with pytest.raises(Rejected, match="'DEBUG' is not NAME=VALUE"):
        build_manifests("shop", PROGRAM, cwd="/", variables=("DEBUG",))
