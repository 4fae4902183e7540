"""What a checkpoint says of values and objects is the same after a restart."""

import json

from mutua.api.destination import DestinationRule, parse_destination_rule
from mutua.api.security import PeerAuthentication, parse_peer_authentication
from mutua.controlplane.checkpoint import Checkpoint, dump, load, reconciled
from mutua.controlplane.epoch import Intent, intent_of
from mutua.testing.mesh import destination_rule, peer_authentication

ROOT = "istio-system"
APP = {"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}
TLS = {
    "tls": {"mode": "MUTUAL", "credentialName": "c", "subjectAltNames": ["spiffe://a/b"]},
    "connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}, "tcp": {"maxConnections": 7}},
    "outlierDetection": {"consecutive5xxErrors": 3, "baseEjectionTime": "30s"},
    "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "DISABLE"}}],
}


def policy(mode: str, name: str = "default") -> PeerAuthentication:
    return parse_peer_authentication(peer_authentication("shop", mode, name=name, **APP))


def rule(**tls: str) -> DestinationRule:
    subsets = [{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": {"tls": tls}}]
    return parse_destination_rule(destination_rule("shop", "web", TLS, subsets=subsets))


def intent(
    number: int, *policies: PeerAuthentication, rules: tuple[DestinationRule, ...] = ()
) -> Intent:
    return intent_of(number, policies, rules, ROOT)


def reread(checkpoint: Checkpoint) -> Checkpoint:
    return load(json.loads(json.dumps(dump(checkpoint))))


def test_values_are_as_they_were() -> None:
    before = intent(1, policy("STRICT"), rules=(rule(mode="SIMPLE"),))
    after = intent(2, policy("DISABLE"), policy("STRICT", "more"), rules=())
    found = reread(Checkpoint(after, before, (before,), (before, after)))

    assert (found.target.policies, found.target.rules) == (after.policies, after.rules)
    assert (found.dial.policies, found.dial.rules) == (before.policies, before.rules)
    assert found.former == (found.dial,)
    assert found.dials == (found.dial, found.target)
    assert found.target.root == ROOT
    assert max(found.target.number, found.dial.number) < 0


def test_nothing_is_written_but_what_has_a_meaning_for_the_mesh() -> None:
    obj = peer_authentication("shop", "STRICT")
    obj["metadata"]["annotations"] = {"secret": "x"}
    obj["status"] = {"conditions": []}
    wanted = intent(1, parse_peer_authentication(obj))
    (written,) = dump(Checkpoint(wanted, wanted, (), (wanted,)))["objects"]

    assert {"apiVersion": obj["apiVersion"], **written} == peer_authentication("shop", "STRICT")


def test_what_users_still_want_is_the_same_object() -> None:
    rules = (rule(mode="SIMPLE"),)
    kept = intent(1, policy("STRICT"), policy("STRICT", "more"), rules=rules)
    former = intent(2, policy("DISABLE"), policy("STRICT", "more"), rules=rules)
    wish = intent(1, policy("STRICT", "more"), policy("STRICT"), rules=(rule(mode="SIMPLE"),))
    found = reconciled(reread(Checkpoint(kept, former, (former,), (former,))), wish)

    assert found.target is wish  # whatever the order
    assert found.dial is found.former[0] is found.dials[0]
    assert found.dial.policies[0].mode.value == "DISABLE"
    assert found.dial.policies[1] is wish.policies[0]
    assert found.dial.rules is wish.rules


def test_rules_that_are_equal_are_the_same_although_nobody_wants_them_now() -> None:
    kept = intent(1, policy("STRICT"), rules=(rule(mode="SIMPLE"),))
    former = intent(2, policy("DISABLE"), rules=(rule(mode="SIMPLE"),))
    former = intent_of(2, former.policies, kept.rules, ROOT)
    found = reconciled(reread(Checkpoint(kept, former, (former,), (former,))), intent(1))

    assert found.target.rules == kept.rules
    assert found.target.rules is found.dial.rules
