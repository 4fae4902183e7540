"""Environment, images, volumes: what a container finds, computed from objects."""

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.object import CONFIG_MAPS, SECRETS, Object, Resource
from mutua.cluster.node.environment import (
    SourceMissing,
    container_environment,
    expand,
    parse_quantity,
)
from mutua.cluster.node.images import ImageUnknown, find_command, read_catalogue, repository
from mutua.cluster.node.volumes import (
    File,
    Sources,
    inside,
    token_seconds,
    volume_files,
    write_files,
)
from mutua.foundation.errors import Rejected, Unavailable
from mutua.testing.node import FakeTokens

POD: Object = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"app": "web", "tier": 'a"b'},
    },
    "spec": {
        "serviceAccountName": "robot",
        "containers": [
            {"name": "app", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}},
        ],
    },
}
FACTS = {"status.podIP": "10.244.0.9"}
OBJECTS: dict[tuple[Resource, str], Object] = {
    (CONFIG_MAPS, "settings"): {"data": {"MODE": "fast", "not a name": "x"}},
    (SECRETS, "keys"): {"data": {"password": base64.b64encode(b"geheim").decode()}},
}


def lookup(resource: Resource, name: str) -> Object | None:
    return OBJECTS.get((resource, name))


def environment(**container: Any) -> Mapping[str, str]:
    spec = {**POD["spec"]["containers"][0], **container}
    return container_environment(spec, POD, lookup, FACTS)


def value(source: Mapping[str, Any]) -> str | None:
    return environment(env=[{"name": "X", "valueFrom": source}]).get("X")


SOURCES = [
    pytest.param({"fieldRef": {"fieldPath": "metadata.name"}}, "web-1", id="its name"),
    pytest.param({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "web", id="one label"),
    pytest.param({"fieldRef": {"fieldPath": "status.podIP"}}, "10.244.0.9", id="its address"),
    pytest.param({"fieldRef": {"fieldPath": "spec.serviceAccountName"}}, "robot", id="account"),
    pytest.param({"configMapKeyRef": {"name": "settings", "key": "MODE"}}, "fast", id="config"),
    pytest.param({"secretKeyRef": {"name": "keys", "key": "password"}}, "geheim", id="secret"),
    pytest.param(
        {"secretKeyRef": {"name": "no", "key": "k", "optional": True}}, None, id="optional"
    ),
    pytest.param({"resourceFieldRef": {"resource": "limits.cpu"}}, "2", id="cpu rounds up"),
    pytest.param(
        {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "64", id="Mi"
    ),
    pytest.param({"resourceFieldRef": {"resource": "requests.cpu"}}, "0", id="no request"),
]


@pytest.mark.parametrize(("source", "expected"), SOURCES)
def test_a_variable_comes_from(source: Mapping[str, Any], expected: str | None) -> None:
    assert value(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        {"configMapKeyRef": {"name": "none", "key": "k"}},
        {"configMapKeyRef": {"name": "settings", "key": "none"}},
        {"secretKeyRef": {"name": "none", "key": "k"}},
    ],
)
def test_a_missing_source_is_waited_for(source: Mapping[str, Any]) -> None:
    with pytest.raises(SourceMissing):
        value(source)


def test_an_unknown_field_is_rejected() -> None:
    with pytest.raises(Rejected, match="downward"):
        value({"fieldRef": {"fieldPath": "spec.nodeSelector"}})


def test_env_from_takes_names_that_can_be_variables_and_env_wins() -> None:
    source = {"prefix": "S_", "configMapRef": {"name": "settings"}}

    found = environment(envFrom=[source], env=[{"name": "Y", "value": "$(S_MODE)er"}])

    assert found == {"S_MODE": "fast", "Y": "faster"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A $(", "$A $("), ("a$$b", "a$b")],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1"}) == expected


@given(st.text())
def test_expansion_accepts_any_text(text: str) -> None:
    expand(text, {})


@pytest.mark.parametrize(
    ("text", "number"), [("100m", 0.1), ("1Ki", 1024), ("2", 2), ("1.5G", 15e8)]
)
def test_quantities(text: str, number: float) -> None:
    assert float(parse_quantity(text)) == number


@pytest.mark.parametrize("text", ["", "x", "1Q", "1..2"])
def test_what_is_no_quantity_is_rejected(text: str) -> None:
    with pytest.raises(Rejected):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("docker.io/kennethreitz/httpbin", "kennethreitz/httpbin"),
        ("kennethreitz/httpbin:latest", "kennethreitz/httpbin"),
        ("localhost:5000/shop/web:1", "localhost:5000/shop/web"),
        ("docker.io/library/curl@sha256:abc", "curl"),
    ],
)
def test_an_image_is_known_by_its_repository(image: str, name: str) -> None:
    assert repository(image) == name


def command(catalogue: Object | None = None, **container: Any) -> tuple[str, ...]:
    known = read_catalogue(catalogue)
    return find_command({"name": "app", **container}, known, python="/py")


def test_a_command_wins_over_the_image() -> None:
    assert command(image="curl", command=["a"], args=["b"]) == ("a", "b")


def test_httpbin_is_the_real_one() -> None:
    assert command(image="docker.io/kennethreitz/httpbin")[:3] == ("/py", "-m", "waitress")


def test_an_image_that_reads_its_port_from_the_environment_does_so_here() -> None:
    shell, option, script = command(image="mccutchen/go-httpbin:v2")
    # `exec` would replace the shell by the server: show its words instead.
    words = script.replace("exec ", "echo ", 1)

    def runs(**environment: str) -> str:
        return subprocess.check_output([shell, option, words], env=environment, text=True)

    assert "/py -m waitress --listen=0.0.0.0:8080 " in runs()
    assert " --listen=0.0.0.0:8081 " in runs(PORT="8081")


def test_users_add_images_as_lists_or_as_text() -> None:
    data = {"mine": "shop/web: [serve, '8080']\nshop/job: sleep infinity"}

    assert command({"data": data}, image="shop/web:7") == ("serve", "8080")
    assert command({"data": data}, image="docker.io/shop/job") == ("sleep", "infinity")


def test_an_unknown_image_says_both_ways_out() -> None:
    with pytest.raises(ImageUnknown, match=r"command.*mutua-images"):
        command(image="shop/web:1")


@pytest.mark.parametrize("text", ["[", "a: {b: c}", "- x", "a: ''"])
def test_a_malformed_catalogue_is_rejected_with_its_place(text: str) -> None:
    with pytest.raises(Rejected, match="key 'mine'"):
        read_catalogue({"data": {"mine": text}})


async def files(volume: Mapping[str, Any]) -> dict[str, bytes] | None:
    sources = Sources(POD, lookup, FACTS, FakeTokens())
    found = await volume_files({"name": "v", **volume}, sources)
    return None if found is None else {path: file.content for path, file in found.items()}


async def test_volumes_of_every_kind() -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "ca", "expirationSeconds": 600}}
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    picked = {"secretName": "keys", "items": [{"key": "password", "path": "a/b"}]}

    assert await files({"emptyDir": {}}) is None
    assert (await files({"configMap": {"name": "settings"}}) or {})["MODE"] == b"fast"
    assert await files({"secret": picked}) == {"a/b": b"geheim"}
    assert await files(
        {"projected": {"sources": [token, {"downwardAPI": {"items": [labels]}}]}}
    ) == {
        "token": b"shop/robot/web-1/ca/600",
        "labels": b'app="web"\ntier="a\\"b"',
    }
    assert await files({"configMap": {"name": "none", "optional": True}}) == {}
    assert token_seconds({"projected": {"sources": [token]}}) == 600


@pytest.mark.parametrize(
    "volume",
    [
        {"hostPath": {"path": "/"}},
        {"configMap": {"name": "settings", "items": [{"key": "MODE", "path": "../x"}]}},
        {"configMap": {"name": "settings", "items": [{"key": "MODE", "path": "/x"}]}},
    ],
)
async def test_what_a_volume_may_not_be_is_rejected(volume: Mapping[str, Any]) -> None:
    with pytest.raises(Rejected):
        await files(volume)


async def test_a_volume_without_its_source_is_waited_for() -> None:
    with pytest.raises(SourceMissing, match="none"):
        await files({"secret": {"secretName": "none"}})


def test_files_change_together_and_old_ones_go(tmp_path: Path) -> None:
    assert write_files(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    assert not write_files(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)})
    assert (tmp_path / "d/b").stat().st_mode & 0o777 == 0o600

    assert write_files(tmp_path, {"a": File(b"3"), "c": File(b"4")})

    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith("..")} == {"a", "c"}
    assert (tmp_path / "a").read_bytes() == b"3"
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..")]) == 2


def test_a_file_below_another_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="volume 'conf' cannot be written"):
        write_files(tmp_path / "conf", {"a": File(b"1"), "a/b": File(b"2")})


@pytest.mark.parametrize(
    ("path", "plain"), [("a/b", "a/b"), ("./a", "a"), ("a//b/", "a/b"), ("a/./b", "a/b")]
)
def test_detours_inside_a_volume_are_straightened(path: str, plain: str) -> None:
    assert inside(path) == plain


@pytest.mark.parametrize("path", ["/a", "..", "a/../..", "a/../b", "..data", "..data/x", ".", ""])
def test_a_path_that_is_not_inside_a_volume_is_refused(path: str) -> None:
    with pytest.raises(Rejected, match="not a path inside the volume"):
        inside(path)
