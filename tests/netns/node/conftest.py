"""A private shim per test."""

from collections.abc import Iterator

import pytest

from mutua.testing.shims import PrivateMesh, private_mesh


@pytest.fixture
def mesh() -> Iterator[PrivateMesh]:
    with private_mesh() as one:
        yield one
