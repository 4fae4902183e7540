"""Container specs: what the daemon sends is what the shim reads."""

import json
from dataclasses import asdict

import pytest

from mutua.foundation.errors import Rejected
from mutua.runtime.spec import ContainerSpec, Mount, pod_of, spec_from_json

SPEC = ContainerSpec(
    id="uid/app/3",
    argv=("python3", "-m", "http.server"),
    env={"A": "b", "ünïcode": "✓"},
    cwd="/srv",
    netns="/run/netns/uid",
    hostname="web-0",
    mounts=(Mount(target="/data", source="/x", read_only=True), Mount(target="/t", kind="tmpfs")),
    hide=("/secret",),
    log_path="/logs/3.log",
    capabilities=("NET_ADMIN",),
    annotations={"k": "v"},
)


def test_a_spec_survives_the_crossing() -> None:
    assert spec_from_json(json.loads(json.dumps(asdict(SPEC)))) == SPEC


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        {},
        {"id": "a"},
        {**asdict(SPEC), "evil": 1},
        {**asdict(SPEC), "mounts": [{"evil": 1}]},
        {**asdict(SPEC), "mounts": 7},
        {**asdict(SPEC), "argv": None},
    ],
)
def test_nonsense_is_no_spec(data: object) -> None:
    with pytest.raises(Rejected):
        spec_from_json(data)


def test_the_pod_is_in_the_id() -> None:
    assert pod_of(SPEC.id) == "uid"
