"""Cases: a proxy, settings and policies (`<case>.yaml`) on top of one mesh (`mesh.yaml`)."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from mutua.api.kinds import find_by_kind
from mutua.api.validation.mesh_config import parse_mesh_config
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.xds.compile import compile_proxy
from mutua.xds.resource import ProxyResources

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.yaml") if path.stem != "mesh")


def read(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CASES / f"{name}.yaml").read_text()))


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def compiled(case: str) -> ProxyResources:
    header, *policies = read(case)
    objects = defaultdict(list)
    for obj in [*read("mesh"), *policies]:
        kind = find_by_kind(obj["apiVersion"], obj["kind"])
        objects[kind.resource].append(obj)
    settings = parse_mesh_config(header.get("meshConfig", ""), MeshSettings())
    return compile_proxy(build_snapshot(objects, settings), header["proxy"])
