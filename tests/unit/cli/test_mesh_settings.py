"""Commands follow the mesh's settings, and survive those that nobody can read."""

from typing import Any

import pytest

from mutua.cli.mesh_settings import read_settings
from mutua.model.settings import MeshSettings


class Api:
    """An API that stores ConfigMaps without admission, as somebody else's might."""

    def __init__(self, **texts: str) -> None:
        self._texts = texts

    def list(self, _kind: Any, *, namespace: str) -> list[dict[str, Any]]:
        assert namespace == "istio-system"
        return [
            {"metadata": {"namespace": namespace, "name": name}, "data": {"mesh": text}}
            for name, text in self._texts.items()
        ]


def test_they_are_those_of_the_config_map_istio() -> None:
    api = Api(other="rootNamespace: other", istio="rootNamespace: mesh-cfg")

    assert read_settings(api) == MeshSettings(root_namespace="mesh-cfg")


def test_without_one_they_are_the_defaults() -> None:
    assert read_settings(Api()) == MeshSettings()


def test_a_bad_one_is_said_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert read_settings(Api(istio="nonsense: 1")) == MeshSettings()

    assert capsys.readouterr().err == (
        "Warning: configmap istio-system/istio: data[mesh].nonsense: Forbidden: unknown field; "
        "defaults assumed\n"
    )
