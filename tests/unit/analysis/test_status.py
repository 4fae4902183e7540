"""What live policies say about themselves."""

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.analysis.status import REJECTED
from mutua.controlplane.enforcement import Reason
from mutua.testing.mesh import by_resource, destination_rule, namespace, peer_authentication


def with_condition(obj, reason: str, status: str = "False"):
    condition = {"type": "InForce", "status": status, "reason": reason, "message": "web refused it"}
    return {**obj, "status": {"conditions": [condition]}}


def test_what_a_proxy_refused_is_named() -> None:
    refused = with_condition(peer_authentication("shop", "STRICT"), REJECTED)
    pending = with_condition(peer_authentication("shop", "STRICT", name="new"), "Pending")
    rule = with_condition(destination_rule("shop", "*.local"), REJECTED)
    confirmed = with_condition(destination_rule("store", "*.local"), "Confirmed", "True")

    found = analyze(Mesh(by_resource(namespace("shop"), refused, pending, rule, confirmed)))

    refusals = [one for one in found if one.code.code == "IST0171"]
    assert [(str(one.origin), one.text) for one in refusals] == [
        ("DestinationRule shop/rule", "web refused it"),
        ("PeerAuthentication shop/default", "web refused it"),
    ]


def test_the_reason_is_the_one_that_the_control_plane_writes() -> None:
    assert Reason.REJECTED.value == REJECTED
