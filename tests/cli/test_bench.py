"""Does `mutua bench` run to its end, and can its clients go on after an exec?  No timings here."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

from mutua.api.object import PODS
from mutua.cli.bench import manifest
from mutua.cli.bench.manifest import container, deployment
from mutua.cli.bench.stage import private_mesh
from mutua.cli.client import connect, list_objects

UNITS: Final = {"s", "ms", "us", "1/s", "kB", "MB", "%", "ratio"}

EXPECTED: Final = {
    "rotate root, 10 proxies",
    "10 workloads renew at once",
    "up to first mTLS 200",
    "apply to enforced p50",
    "apply to enforced p99",
    "direct: latency p50",
    "two sidecars: latency p99",
    "hand-written pair: requests/s",
    "sidecars / hand-written: latency p50",
    "sidecars / hand-written: requests/s",
    "private memory per meshed pod",
    "certificates signed",
    "certificates signed: OpenSSL's floor",
    "certificates over gRPC",
}

EXECS: Final = 60
"""Enough for a reader that outlives its connection to spoil a later one almost surely."""


@pytest.fixture(scope="module")
def finished() -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "mutua", "bench", "--quick", "-o", "json"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def document(finished: "subprocess.CompletedProcess[str]") -> Any:
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_every_expected_figure_is_there_once(document: Any) -> None:
    names = [figure["name"] for figure in document["figures"]]
    assert set(names) >= EXPECTED
    assert len(names) == len(set(names))


def test_every_figure_is_positive_and_says_its_unit_and_how_it_was_taken(document: Any) -> None:
    for figure in document["figures"]:
        assert figure["value"] > 0, figure
        assert figure["unit"] in UNITS, figure
        assert len(figure["method"]) > 20, figure


def test_percentiles_are_in_order(document: Any) -> None:
    value = {figure["name"]: figure["value"] for figure in document["figures"]}
    for name in ("direct: latency", "two sidecars: latency", "apply to enforced"):
        assert value[f"{name} p50"] <= value[f"{name} p99"]


def test_the_machine_is_described_without_its_name(document: Any) -> None:
    machine = document["machine"]
    assert {"cpus", "architecture", "kernel", "python"} <= set(machine)
    assert all(isinstance(value, str) and value for value in machine.values())


def test_progress_goes_to_standard_error(
    document: Any, finished: "subprocess.CompletedProcess[str]"
) -> None:
    assert document
    assert "measuring: memory" in finished.stderr
    assert "Warning" not in finished.stderr


def test_connections_opened_after_an_exec_get_all_their_bytes() -> None:
    with private_mesh() as (stage, _):
        sleeper = [container("app", ["sleep", "infinity"])]
        stage.apply([manifest.namespace(), deployment("sleeper", sleeper, sidecar=False)])
        stage.wait_until_available()
        for number in range(EXECS):
            assert stage.exec("sleeper", "app", ["echo", str(number)]) == f"{number}\n"
            with connect(stage.layout, manifest.NAMESPACE) as client:
                assert list_objects(client, PODS, manifest.NAMESPACE)
