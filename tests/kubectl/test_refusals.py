"""What a user reads when a manifest is wrong; and that nothing of it was stored."""

from typing import Any

import pytest

from mutua.api.object import CONFIG_MAPS, PEER_AUTHENTICATIONS, STATEFUL_SETS

Cluster = Any  # the fixture's class lives in conftest, which tests cannot import


def policy(spec: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: bad, namespace: default}}
spec: {spec}
"""


# fmt: off
WRONG = [
    pytest.param("apiVersion: v1\nkind: [", "error parsing STDIN", id="malformed YAML"),
    pytest.param(policy("{bogus: 1}"),
        'strict decoding error: unknown field "spec.bogus"', id="unknown field"),
    pytest.param(policy("{mtls: {mode: STRIC}}"),
        'The PeerAuthentication "bad" is invalid: spec.mtls.mode: Unsupported value: "STRIC": '
        "supported values:", id="bad enum value"),
    pytest.param(policy('{selector: {matchLabels: {a: b}}, portLevelMtls: {"0": {mode: STRICT}}}'),
        "spec.portLevelMtls", id="port 0"),
    pytest.param(policy("{selector: {matchLabels: {a: b}}, portLevelMtls: {x: {mode: STRICT}}}"),
        "spec.portLevelMtls", id="a port that is no number"),
    pytest.param(policy('{selector: {matchLabels: {a: "b*"}}}'),
        "spec.selector.matchLabels", id="wildcard in a selector"),
    pytest.param(policy('{portLevelMtls: {"80": {mode: STRICT}}}'),
        "portLevelMtls requires selector", id="port level without a selector"),
    pytest.param(policy("{mtls: 7}"), "spec.mtls", id="wrong type"),
]
# fmt: on


@pytest.mark.parametrize(("manifest", "message"), WRONG)
def test_a_wrong_policy_is_refused_and_not_stored(
    cluster: Cluster, manifest: str, message: str
) -> None:
    complaint = cluster.kubectl("apply", "-f", "-", stdin=manifest, fails=True)

    assert message in complaint
    assert cluster.run(cluster.registry.list(PEER_AUTHENTICATIONS)).items == ()


def test_unknown_fields_can_be_a_warning(cluster: Cluster) -> None:
    arguments = ["apply", "-f", "-", "--validate=warn"]

    out = cluster.kubectl(*arguments, stdin=policy("{bogus: 1}"))

    assert 'Warning: unknown field "spec.bogus"' in out
    (stored,) = cluster.run(cluster.registry.list(PEER_AUTHENTICATIONS)).items
    assert "bogus" not in stored["spec"]


def test_a_policy_that_is_not_enforced_yet_says_so(cluster: Cluster) -> None:
    manifest = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: default}
spec: {}
"""
    out = cluster.kubectl("apply", "-f", "-", stdin=manifest)

    assert "Warning:" in out
    assert "not" in out
    assert "enforced" in out


def test_a_stateful_set_says_what_it_cannot_have_and_what_never_changes(cluster: Cluster) -> None:
    def web(spec: str) -> str:
        return f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  {spec}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: a, image: x}}]}}
"""

    claims = web("volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]")
    complaint = cluster.kubectl("apply", "-f", "-", stdin=claims, fails=True)
    assert 'The StatefulSet "web" is invalid: spec.volumeClaimTemplates: Forbidden' in complaint
    assert "use an emptyDir volume" in complaint
    assert cluster.run(cluster.registry.list(STATEFUL_SETS)).items == ()

    assert "created" in cluster.kubectl("apply", "-f", "-", stdin=web("serviceName: web"))
    assert "unchanged" in cluster.kubectl("apply", "-f", "-", stdin=web("serviceName: web"))
    complaint = cluster.kubectl("apply", "-f", "-", stdin=web("serviceName: x"), fails=True)
    assert "spec.serviceName: Forbidden: updates to statefulset spec for fields other" in complaint
    patch = '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}'
    assert "patched" in cluster.kubectl("patch", "sts", "web", "-p", patch)
    header = cluster.kubectl("get", "sts", "-o", "wide").splitlines()[0].split()
    assert header == ["NAME", "READY", "AGE", "CONTAINERS", "IMAGES"]


def test_a_missing_namespace_is_named(cluster: Cluster) -> None:
    complaint = cluster.kubectl("create", "configmap", "c", "-n", "nowhere", fails=True)

    assert 'namespaces "nowhere" not found' in complaint


def test_a_bad_change_leaves_the_object_as_it_was(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=policy("{mtls: {mode: STRICT}}"))

    patch = '{"spec":{"mtls":{"mode":"OFF"}}}'
    complaint = cluster.kubectl("patch", "pa", "bad", "--type=merge", "-p", patch, fails=True)

    assert 'Unsupported value: "OFF"' in complaint
    (stored,) = cluster.run(cluster.registry.list(PEER_AUTHENTICATIONS)).items
    assert stored["spec"] == {"mtls": {"mode": "STRICT"}}


def test_an_update_of_an_old_version_is_a_conflict(cluster: Cluster) -> None:
    cluster.kubectl("create", "configmap", "c", "--from-literal=a=1")
    old = cluster.kubectl("get", "cm", "c", "-o", "json")
    cluster.kubectl("annotate", "cm", "c", "x=y")

    complaint = cluster.kubectl("replace", "-f", "-", stdin=old, fails=True)

    assert "Error from server (Conflict)" in complaint
    assert "the object has been modified" in complaint


def test_a_body_beyond_the_limit_is_refused(cluster: Cluster) -> None:
    big = cluster.home / "big"
    big.write_text("x" * 4_000_000)

    cluster.kubectl("create", "configmap", "c", f"--from-file={big}", fails=True)

    names = [o["metadata"]["name"] for o in cluster.run(cluster.registry.list(CONFIG_MAPS)).items]
    assert "c" not in names
