import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.selectors import (
    BadSelector,
    equality_selector,
    parse_field_selector,
    parse_label_selector,
    read_label_selector,
)

WEB = {"app": "web", "tier": "front"}

# fmt: off
TEXTS = [
    ("",                          True),
    ("app",                       True),
    ("!app",                      False),
    ("! canary",                  True),
    ("app=web",                   True),
    ("app==web",                  True),
    ("app = web , tier = front",  True),
    ("app!=web",                  False),
    ("canary!=yes",               True),
    ("app in (web, job)",         True),
    ("app in (job)",              False),
    ("app notin (job)",           True),
    ("app notin (web,job)",       False),
    ("canary notin (a)",          True),
    ("app=web,tier=back",         False),
    ("app=",                      False),
    ("kubernetes.io/name=x",      False),
]
MALFORMED = ["=web", "app=web job", "!app=web", "app in web", "app in (a b)", "a,,b", "app=*", ","]
# fmt: on


@pytest.mark.parametrize(("text", "selected"), TEXTS)
def test_label_selectors(text: str, selected: bool) -> None:
    assert parse_label_selector(text).matches(WEB) is selected


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(BadSelector):
        parse_label_selector(text)


@given(st.text(max_size=40))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    for parse in (parse_label_selector, parse_field_selector):
        try:
            parse(text)
        except BadSelector:
            continue


def test_an_empty_selector_selects_everything() -> None:
    assert read_label_selector({}).matches(WEB)
    assert read_label_selector({}).matches(None)


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ({"key": "app", "operator": "In", "values": ["web"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "canary", "operator": "NotIn", "values": ["yes"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
    ],
)
def test_match_expressions(expression: dict[str, object], selected: bool) -> None:
    selector = {"matchLabels": {"tier": "front"}, "matchExpressions": [expression]}

    assert read_label_selector(selector).matches(WEB) is selected


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "Near"},
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
    ],
)
def test_contradictory_expressions_are_refused(expression: dict[str, object]) -> None:
    with pytest.raises(BadSelector):
        read_label_selector({"matchExpressions": [expression]})


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy")))
def test_labels_select_themselves(labels: dict[str, str]) -> None:
    assert equality_selector(labels).matches({**labels, "other": "label"})


POD = {
    "metadata": {"name": "web-0"},
    "spec": {"nodeName": "mutua-node", "hostNetwork": False},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("metadata.name=web-0", True),
        ("metadata.name=web-0,status.phase!=Running", False),
        ("status.phase==Running", True),
        ("spec.missing=", True),
        ("spec.missing!=x", True),
        ("spec.hostNetwork=false", True),
        (r"metadata.name=web\,0", False),
    ],
)
def test_field_selectors(text: str, selected: bool) -> None:
    assert parse_field_selector(text).matches(POD) is selected


def test_a_field_selector_tells_which_name_it_asks_for() -> None:
    selector = parse_field_selector("metadata.name=web-0,status.phase!=Failed")

    assert selector.exact("metadata.name") == "web-0"
    assert selector.exact("status.phase") is None
