"""The reference names everything that is refused or has no effect."""

from pathlib import Path

import pytest

from mutua.api import annotations
from mutua.api.validation import service_entry, support, volumes

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "supported.md"

NAMES = [
    *support.REFUSED_POD_FIELDS,
    *support.REFUSED_CONTAINER_FIELDS,
    *support.REFUSED_PRIVILEGES,
    *support.REFUSED_MOUNT_FIELDS,
    *support.IGNORED_POD_FIELDS,
    *support.IGNORED_SECURITY_FIELDS,
    *volumes.SUPPORTED,
    *service_entry.NOT_ENFORCED,
    *(name.rsplit("/", 1)[1] for name in annotations.CHECKS),
    *(name.rsplit("/", 1)[1] for name in annotations.UNSUPPORTED),
]


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_what_admission_knows_is_in_the_reference(name: str) -> None:
    assert name in REFERENCE.read_text()
