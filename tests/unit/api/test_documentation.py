"""The reference names everything that is refused or has no effect."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.api import annotations
from mutua.api.shape import Struct
from mutua.api.tables.mesh import MESH_CONFIG, NOT_HONOURED
from mutua.api.validation import service_entry, support, volumes

DOCS = Path(__file__).parents[3] / "docs" / "reference"
REFERENCE = DOCS / "supported.md"
MESH_CONFIG_REFERENCE = DOCS / "mesh-config.md"

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


def leaves(schema: Struct, path: str = "") -> Iterator[str]:
    for name, field in schema.fields.items():
        if isinstance(field, Struct):
            yield from leaves(field, f"{path}{name}.")
        else:
            yield path + name


def test_every_setting_of_the_mesh_has_its_line_and_no_other_has_one() -> None:
    text = MESH_CONFIG_REFERENCE.read_text()
    honoured = text.partition("## What is honoured")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([\w.]+)` \|", honoured, re.MULTILINE)

    assert sorted(listed) == sorted(leaves(MESH_CONFIG))


def test_what_only_istio_honours_is_listed_in_full() -> None:
    without = MESH_CONFIG_REFERENCE.read_text().partition("## Known, without effect")[2]

    assert {*re.findall(r"`(\w+)`", without)} == {*NOT_HONOURED, "meshNetworks"}
