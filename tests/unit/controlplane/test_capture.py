from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.object import Object
from mutua.api.verdict import Invalid
from mutua.controlplane.capture import capture_rules
from mutua.runtime.network.rules import CaptureRules

TRAFFIC = "traffic.sidecar.istio.io/"


def pod(**traffic: str) -> Object:
    return annotated({TRAFFIC + name: value for name, value in traffic.items()})


def annotated(annotations: dict[str, str]) -> Object:
    return {"metadata": {"name": "web", "annotations": annotations}, "spec": {"containers": []}}


def test_without_annotations_everything_is_captured() -> None:
    assert capture_rules({"metadata": {}, "spec": {}}) == CaptureRules()


READ = [
    pytest.param({"includeInboundPorts": "*"}, CaptureRules(), id="all inbound"),
    pytest.param(
        {"includeInboundPorts": ""}, CaptureRules(include_inbound_ports=()), id="no inbound"
    ),
    pytest.param(
        {"includeInboundPorts": "80, 8080"},
        CaptureRules(include_inbound_ports=(80, 8080)),
        id="some inbound",
    ),
    pytest.param({"excludeInboundPorts": ""}, CaptureRules(), id="no inbound excluded"),
    pytest.param(
        {"excludeInboundPorts": "22"},
        CaptureRules(exclude_inbound_ports=(22,)),
        id="one inbound excluded",
    ),
    pytest.param({"includeOutboundIPRanges": "*"}, CaptureRules(), id="all outbound"),
    pytest.param(
        {"includeOutboundIPRanges": ""}, CaptureRules(include_outbound_cidrs=()), id="no outbound"
    ),
    pytest.param(
        {"includeOutboundIPRanges": "10.96.0.0/16,10.244.3.7/16"},
        CaptureRules(include_outbound_cidrs=("10.96.0.0/16", "10.244.0.0/16")),
        id="some outbound, host bits dropped",
    ),
    pytest.param(
        {"includeOutboundIPRanges": "fd00::/8"},
        CaptureRules(include_outbound_cidrs=()),
        id="a range that matches no pod",
    ),
    pytest.param(
        {"excludeOutboundIPRanges": "1.1.1.1/32"},
        CaptureRules(exclude_outbound_cidrs=("1.1.1.1/32",)),
        id="one outbound excluded",
    ),
    pytest.param(
        {"includeOutboundPorts": "443"},
        CaptureRules(include_outbound_ports=(443,)),
        id="an outbound port",
    ),
    pytest.param(
        {"excludeOutboundPorts": "3306,5432"},
        CaptureRules(exclude_outbound_ports=(3306, 5432)),
        id="outbound ports excluded",
    ),
]


@pytest.mark.parametrize(("traffic", "rules"), READ)
def test_what_an_annotation_means(traffic: dict[str, str], rules: CaptureRules) -> None:
    assert capture_rules(pod(**traffic)) == rules


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("excludeInboundPorts", "http"),
        ("excludeInboundPorts", "80,"),
        ("excludeInboundPorts", "0"),
        ("excludeInboundPorts", "65536"),
        ("excludeInboundPorts", "-1"),
        ("excludeInboundPorts", "80-90"),
        ("excludeInboundPorts", "*"),
        ("excludeInboundPorts", "٨٠"),
        ("includeInboundPorts", "*,80"),
        ("excludeOutboundPorts", "80;90"),
        ("includeOutboundPorts", "*"),
        ("includeOutboundIPRanges", "10.0.0.0"),
        ("includeOutboundIPRanges", "10.0.0.0/33"),
        ("includeOutboundIPRanges", "example.com/24"),
        ("includeOutboundIPRanges", "*,10.0.0.0/8"),
        ("excludeOutboundIPRanges", "*"),
        ("excludeOutboundIPRanges", "10.0.0.0/8,,"),
        ("excludeInboundPort", "80"),
        ("kubevirtInterfaces", "net1"),
        ("excludeInterfaces", "eth1"),
    ],
)
def test_a_rule_that_cannot_be_enforced_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        capture_rules(pod(**{name: value}))

    assert [error.path for error in refusal.value.errors] == [
        f"metadata.annotations[{TRAFFIC}{name}]"
    ]


@pytest.mark.parametrize("mode", ["TPROXY", "NONE", "redirect", ""])
def test_other_kinds_of_interception_are_refused(mode: str) -> None:
    with pytest.raises(Invalid, match="interceptionMode"):
        capture_rules(annotated({"sidecar.istio.io/interceptionMode": mode}))


def test_all_bad_annotations_are_named_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        capture_rules(pod(excludeInboundPorts="x", excludeOutboundPorts="y"))

    assert len(refusal.value.errors) == 2


@given(
    name=st.sampled_from(["includeInboundPorts", "excludeOutboundIPRanges", "excludeInboundPorts"]),
    value=st.text(max_size=20) | st.text("0123456789./,* ", max_size=20),
)
def test_any_text_is_read_or_refused(name: str, value: str) -> None:
    with suppress(Invalid):
        capture_rules(pod(**{name: value}))
