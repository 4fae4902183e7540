"""Objects as users write them, shared by the tests of this folder."""

from typing import Any

import pytest


@pytest.fixture
def pod() -> dict[str, Any]:
    """The smallest pod worth running."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": "httpbin"}]},
    }
