"""Which findings are shown, and how."""

import json

import pytest
import yaml

from mutua.analysis.codes import CONFLICT, NO_PROXY, NOT_INJECTED, SCHEMA_ERROR
from mutua.analysis.message import Level, Message, Origin
from mutua.cli.istioctl.report import (
    Selection,
    document,
    known_codes,
    lines,
    parse_suppression,
)
from mutua.foundation.errors import Rejected

POD = Message(code=NO_PROXY, origin=Origin("Pod", "shop", "web-1"), text="none")
RULE = Message(
    code=CONFLICT,
    origin=Origin("DestinationRule", "store", "rule"),
    related=(Origin("PeerAuthentication", "shop", "default"),),
    text="no",
)
SPACE = Message(code=NOT_INJECTED, origin=Origin("Namespace", "", "shop"), text="says nothing")
ROOT_POD = Message(code=NO_PROXY, origin=Origin("Pod", "istio-system", "x"), text="none")
ROOT_POLICY = Message(
    code=CONFLICT, origin=Origin("PeerAuthentication", "istio-system", "x"), text="no"
)
ALL = [POD, RULE, SPACE, ROOT_POD, ROOT_POLICY]

CASES = [
    (Selection(namespaces=None), [POD, RULE, SPACE, ROOT_POLICY]),
    (Selection(namespaces=frozenset({"shop"})), [POD, RULE, SPACE]),
    (Selection(namespaces=frozenset({"store"})), [RULE]),
    (Selection(namespaces=frozenset({"istio-system"})), [ROOT_POD, ROOT_POLICY]),
    (Selection(namespaces=frozenset(), written={POD.origin}), [POD]),
    (Selection(namespaces=frozenset(), written={RULE.related[0]}), [RULE]),
    (Selection(namespaces=None, threshold=Level.ERROR), [RULE, ROOT_POLICY]),
    (
        Selection(namespaces=None, suppressed=[("IST0103", "Pod *.shop")]),
        [RULE, SPACE, ROOT_POLICY],
    ),
    (Selection(namespaces=None, suppressed=[("IST01*", "*")]), []),
    (
        Selection(namespaces=None, suppressed=[("IST0102", "Namespace shop")]),
        [POD, RULE, ROOT_POLICY],
    ),
    (
        Selection(namespaces=None, suppressed=[("IST0102", "Pod *")]),
        [POD, RULE, SPACE, ROOT_POLICY],
    ),
]


@pytest.mark.parametrize(("selection", "expected"), CASES)
def test_what_is_shown(selection, expected) -> None:
    assert [one for one in ALL if selection.shows(one)] == expected


def test_suppressions_are_read_or_refused() -> None:
    assert parse_suppression("IST0103=Pod *.testing") == ("IST0103", "Pod *.testing")
    for text, complaint in (("IST0103", "is not CODE=KIND"), ("IST9=Pod x", "no analyzer has")):
        with pytest.raises(Rejected, match=complaint):
            parse_suppression(text)


def test_colour_is_on_the_level_alone() -> None:
    def nowhere(_message):
        return ""

    plain, coloured = (lines([RULE], nowhere, coloured=is_on) for is_on in (False, True))

    assert plain == ["Error [IST0113] (DestinationRule store/rule) no"]
    assert coloured == ["\x1b[31mError\x1b[0m [IST0113] (DestinationRule store/rule) no"]
    assert lines([SPACE], nowhere, coloured=True)[0].startswith("Info [IST0102]")


def test_programs_get_the_same_from_both_formats() -> None:
    found = [document(ALL, lambda one: one.origin.name, kind) for kind in ("json", "yaml")]

    assert json.loads(found[0]) == yaml.safe_load(found[1])
    assert json.loads(found[0])[0]["reference"] == "web-1"
    assert document([], str, "json") == document([], str, "yaml") == "[]"


def test_every_code_is_listed_with_its_level() -> None:
    assert "IST0102 Info    NamespaceNotInjected: " in "\n".join(known_codes())


@pytest.mark.parametrize(
    ("namespaces", "shown"),
    [(None, True), (frozenset({"shop"}), True), (frozenset(), False)],
    ids=["all", "one", "only what is written"],
)
def test_a_bad_mesh_config_is_shown_whatever_namespace_is_asked_about(namespaces, shown) -> None:
    message = Message(
        code=SCHEMA_ERROR, origin=Origin("ConfigMap", "istio-system", "istio"), text="no"
    )

    assert Selection(namespaces=namespaces).shows(message) is shown
