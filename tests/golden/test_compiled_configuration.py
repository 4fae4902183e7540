"""What the compiler makes of known meshes, in full, and that the real Envoy takes it.

After an intended change: MUTUA_GOLDEN=write pytest tests/golden, then read the difference.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from mutua.runtime.envoy import find_envoy
from mutua.testing.configuration import inline_routes, readable
from mutua.xds.bootstrap import Sidecar, bootstrap
from mutua.xds.resource import CLUSTER, LISTENER, ProxyResources

EXPECTED = Path(__file__).parent / "expected"


def as_json(compiled: ProxyResources) -> dict[str, dict[str, Any]]:
    return {kind.rpartition(".")[2]: readable(compiled, kind) for kind in compiled}


def test_the_configuration_is_the_expected_one(case: str, compiled: ProxyResources) -> None:
    actual = as_json(compiled)
    file = EXPECTED / f"{case}.json"
    if os.environ.get("MUTUA_GOLDEN") == "write":
        file.write_text(json.dumps(actual, indent=1) + "\n")

    assert actual == json.loads(file.read_text())


def test_envoy_accepts_the_configuration(tmp_path: Path, compiled: ProxyResources) -> None:
    config = bootstrap(
        Sidecar(pod="web-0", namespace="shop", address="10.244.0.2", service_account="web")
    )
    for kind, field in ((CLUSTER, "clusters"), (LISTENER, "listeners")):
        config["static_resources"][field] += readable(compiled, kind).values()
    inline_routes(config["static_resources"]["listeners"], compiled)
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))

    done = subprocess.run(
        [find_envoy(), "--mode", "validate", "--log-level", "warning", "-c", file],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
