"""What the compiler makes of known meshes, in full, and that the real Envoy takes it.

After an intended change: MUTUA_GOLDEN=write pytest tests/golden, then read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

from mutua.testing.configuration import objections, readable
from mutua.xds.resource import ProxyResources

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
    assert objections(compiled, tmp_path) == ""
