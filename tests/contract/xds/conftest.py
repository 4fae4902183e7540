"""A real Envoy per test."""

import pytest

from mutua.testing.envoy import Envoy


@pytest.fixture
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Envoy:
    return Envoy(tmp_path_factory.mktemp("e"))
