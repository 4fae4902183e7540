"""PeerAuthentication: the table of istio-semantics, section 1.2, row by row."""

from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import PEER_AUTHENTICATIONS
from mutua.api.security import MutualTlsMode, PeerAuthentication, parse_peer_authentication
from mutua.api.validation import validate
from mutua.api.verdict import Invalid

WEB = {"matchLabels": {"app": "web"}}


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": spec,
    }


# fmt: off
REFUSED = [
    ({"mtls": {"mode": "STRIC"}},                                    'Unsupported value: "STRIC"'),
    ({"mtls": "STRICT"},                                             "spec.mtls: Invalid value"),
    ({"portLevelMtls": {"80": {"mode": "STRICT"}}},                  "requires selector"),
    ({"selector": {"matchLabels": {}}, "portLevelMtls": {"80": {}}}, "requires selector"),
    ({"selector": WEB, "portLevelMtls": {}},                         "at least one port"),
    ({"selector": WEB, "portLevelMtls": {"0": {}}},                  "must be between 1 and 65535"),
    ({"selector": WEB, "portLevelMtls": {"65536": {}}},              "must be between 1 and 65535"),
    ({"selector": WEB, "portLevelMtls": {"http": {}}},               "must be a port number"),
    ({"selector": WEB, "portLevelMtls": {"080": {}}},                "must be a port number"),
    ({"selector": WEB, "portLevelMtls": {"٣": {}}},                  "must be a port number"),
    ({"selector": {"matchLabels": {"": "x"}}},                       "empty key"),
    ({"selector": {"matchLabels": {"a*": "x"}}},                     "wildcards are not supported"),
    ({"selector": {"matchLabels": {"a": "x*"}}},                     "wildcards are not supported"),
    ({"selector": {"matchLabels": {"a": "x" * 64}}},                 "no more than 63"),
    ({"selector": {"matchLabels": {f"a{n}": "" for n in range(4097)}}}, "at most 4096"),
]
ACCEPTED = [
    ({},                                      MutualTlsMode.UNSET,      None),
    ({"mtls": None},                          MutualTlsMode.UNSET,      None),
    ({"mtls": {}},                            MutualTlsMode.UNSET,      None),
    ({"mtls": {"mode": "UNSET"}},             MutualTlsMode.UNSET,      None),
    ({"mtls": {"mode": "STRICT"}},            MutualTlsMode.STRICT,     None),
    ({"mtls": {"mode": "PERMISSIVE"}},        MutualTlsMode.PERMISSIVE, None),
    ({"mtls": {"mode": "DISABLE"}},           MutualTlsMode.DISABLE,    None),
    ({"selector": None},                      MutualTlsMode.UNSET,      None),
    ({"selector": {}},                        MutualTlsMode.UNSET,      None),
    ({"selector": {"matchLabels": {}}},       MutualTlsMode.UNSET,      None),
    ({"selector": {"matchLabels": {"a": ""}}}, MutualTlsMode.UNSET,     {"a": ""}),
    ({"selector": WEB},                       MutualTlsMode.UNSET,      {"app": "web"}),
]
# fmt: on


@pytest.mark.parametrize(("spec", "complaint"), REFUSED)
def test_what_is_refused(spec: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Invalid) as refusal:
        parse_peer_authentication(policy(**spec))

    assert complaint in str(refusal.value)
    assert validate(kind_of(PEER_AUTHENTICATIONS), policy(**spec)).errors == [*refusal.value.errors]


@pytest.mark.parametrize(("spec", "mode", "selector"), ACCEPTED)
def test_what_is_accepted(
    spec: dict[str, Any], mode: MutualTlsMode, selector: dict[str, str] | None
) -> None:
    parsed = parse_peer_authentication(policy(**spec))

    assert (parsed.mode, parsed.selector) == (mode, selector)
    assert validate(kind_of(PEER_AUTHENTICATIONS), policy(**spec)).errors == []


def test_ports_become_numbers() -> None:
    ports = {"80": {"mode": "DISABLE"}, "8080": {}, "1": {"mode": None}}

    parsed = parse_peer_authentication(policy(selector=WEB, portLevelMtls=ports))

    assert parsed.port_modes == {
        80: MutualTlsMode.DISABLE,
        8080: MutualTlsMode.UNSET,
        1: MutualTlsMode.UNSET,
    }


def test_an_object_without_spec_is_a_policy_without_opinion() -> None:
    obj = {"metadata": {"name": "x", "namespace": "y", "creationTimestamp": "2026-01-01T00:00:00Z"}}

    assert parse_peer_authentication(obj) == PeerAuthentication(
        namespace="y", name="x", created="2026-01-01T00:00:00Z"
    )


@pytest.mark.parametrize("selector", [{}, {"matchLabels": {}}])
def test_a_selector_without_labels_is_accepted_with_a_warning(selector: dict[str, Any]) -> None:
    verdict = validate(kind_of(PEER_AUTHENTICATIONS), policy(selector=selector))

    assert verdict.errors == []
    assert len(verdict.warnings) == 1
    assert "spec.selector" in verdict.warnings[0]


def test_a_parsed_policy_does_not_change_with_the_object_it_came_from() -> None:
    obj = policy(selector={"matchLabels": {"app": "web"}})
    parsed = parse_peer_authentication(obj)

    obj["spec"]["selector"]["matchLabels"]["app"] = "other"

    assert parsed.selector == {"app": "web"}
