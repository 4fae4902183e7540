# ruff: noqa: E501, ISC004 - recorded bodies, as they are
"""Bodies recorded from kubectl 1.32, and the JSON that the same kubectl prints for them."""

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.protobuf import MAGIC, BadBody, decode_protobuf
from mutua.api.tables import SCHEMAS
from mutua.api.tables.protobuf_numbers import NUMBERS

# fmt: off
RECORDED = {
    "create namespace foo": (
        "azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDZm9vEgAaACIAKgAyADgAQgASABoCCgAaACIA",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}, "spec": {}},
    ),
    "create configmap c --from-literal=x=y --from-file=bin": (
        "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEjgKEQoBYxIAGgAiACoAMgA4AEIAEgYKAXgSAXkaGwoDYmluEhQuttvRC5oz/syQ"
        "/bVZF7B3oOcIPRoAIgA=",
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"x": "y"},
            "binaryData": {"bin": "Lrbb0QuaM/7MkP21WRewd6DnCD0="},
        },
    ),
    "create deployment d --image=httpbin --replicas=0 --port=80 -- sleep 1": (
        "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50Er4BChsKAWQSABoAIgAqADIAOABCAFoICgNhcHASAWQSkAEIABIKCggKA2Fw"
        "cBIBZBp4ChoKABIAGgAiACoAMgA4AEIAWggKA2FwcBIBZBJaEjwKB2h0dHBiaW4SB2h0dHBiaW4aBXNsZWVwGgExKgAyCgoA"
        "EAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAA"
        "KAA4ABoAIgA=",
        {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "labels": {"app": "d"}},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "d"}},
                "strategy": {},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{
                        "name": "httpbin", "image": "httpbin", "command": ["sleep", "1"],
                        "ports": [{"containerPort": 80}], "resources": {},
                    }]},
                },
            },
        },
    ),
    "create service clusterip s --tcp=80:8080": (
        "azhzAAoNCgJ2MRIHU2VydmljZRJjChsKAXMSABoAIgAqADIAOABCAFoICgNhcHASAXMSQAobCgc4MC04MDgwEgNUQ1AYUCIH"
        "CAAQkD8aACgAEggKA2FwcBIBcxoAIglDbHVzdGVySVA6AEIAUgBaAGAAaAAaAgoAGgAiAA==",
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "labels": {"app": "s"}},
            "spec": {
                "type": "ClusterIP", "selector": {"app": "s"},
                "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            },
        },
    ),
    "create token me --duration=600s --audience=a": (
        "azhzAAooChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESDFRva2VuUmVxdWVzdBIgChAKABIAGgAiACoAMgA4AEIAEgYKAWEg"
        "2AQaBAoAEgAaACIA",
        {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {},
            "spec": {"audiences": ["a"], "expirationSeconds": 600},
        },
    ),
    "auth can-i get pods": (
        "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSPAoQCgASABoAIgAqADIA"
        "OABCABIeChwKB2RlZmF1bHQSA2dldBoAIgAqBHBvZHMyADoAGggIABIAGgAgABoAIgA=",
        {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
            "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
        },
    ),
}
# fmt: on


@pytest.mark.parametrize("command", RECORDED)
def test_kubectl_s_bodies_decode_to_kubectl_s_json(command: str) -> None:
    body, expected = RECORDED[command]

    assert decode_protobuf(base64.b64decode(body)) == expected


def field(number: int, value: int | bytes | str) -> bytes:
    """Encode one field: the inverse of the decoder, as small as tests need it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = field(1, api_version) + field(2, kind)
    return MAGIC + field(1, type_meta) + field(2, raw)


def decoded(kind: str, *fields: bytes) -> dict[str, Any]:
    obj = decode_protobuf(body("v1", kind, b"".join(fields)))
    return {name: value for name, value in obj.items() if name not in {"apiVersion", "kind"}}


def test_zero_is_kept_where_go_has_a_pointer() -> None:
    assert decoded("DeleteOptions", field(1, 0)) == {"gracePeriodSeconds": 0}
    assert decoded("ServiceAccount", field(4, 0)) == {"automountServiceAccountToken": False}


def test_negative_numbers_survive() -> None:
    assert decoded("DeleteOptions", field(1, -1)) == {"gracePeriodSeconds": -1}


def test_delete_options() -> None:
    options = decoded(
        "DeleteOptions", field(2, field(1, "uid-1")), field(4, "Background"), field(5, "All")
    )

    assert options == {
        "preconditions": {"uid": "uid-1"},
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }


def test_embedded_messages_belong_to_their_object() -> None:
    probe = field(1, field(2, field(1, "/ready") + field(2, field(1, 0) + field(2, 8080))))
    volume = field(1, "config") + field(2, field(19, field(1, field(1, "settings"))))
    container = field(1, "web") + field(11, probe)

    pod = decoded("Pod", field(2, field(1, volume) + field(2, container)))

    assert pod["spec"] == {
        "volumes": [{"name": "config", "configMap": {"name": "settings"}}],
        "containers": [
            {"name": "web", "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}}}
        ],
    }


def test_a_stateful_set() -> None:
    rolling = field(1, "RollingUpdate") + field(2, field(1, 0))
    spec = field(1, 0) + field(5, "web") + field(6, "Parallel") + field(7, rolling) + field(8, 0)
    more = field(9, 3) + field(10, field(1, "Retain")) + field(11, field(1, 5))

    assert decoded("StatefulSet", field(2, spec + more))["spec"] == {
        "replicas": 0,
        "serviceName": "web",
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "revisionHistoryLimit": 0,
        "minReadySeconds": 3,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"},
        "ordinals": {"start": 5},
    }


def test_times_become_rfc_3339_and_the_zero_time_is_absent() -> None:
    event = decoded(
        "Event",
        field(6, field(1, 1_767_225_600)),
        field(7, b""),
        field(10, field(1, 1) + field(2, 5000)),
    )

    assert event == {
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "eventTime": "1970-01-01T00:00:01.000005Z",
    }


def test_quantities_and_ports_by_name() -> None:
    limits = field(1, field(1, "cpu") + field(2, field(1, "100m")))
    probe = field(1, field(3, field(1, field(1, 1) + field(3, "http"))))
    container = field(8, limits) + field(10, probe)

    pod = decoded("Pod", field(2, field(2, container)))

    assert pod["spec"]["containers"] == [
        {
            "resources": {"limits": {"cpu": "100m"}},
            "livenessProbe": {"tcpSocket": {"port": "http"}},
        }
    ]


def test_managed_fields_are_json_inside() -> None:
    entry = field(1, "kubectl") + field(7, field(1, b'{"f:spec":{}}'))

    secret = decoded("Secret", field(1, field(17, entry)))

    assert secret["metadata"]["managedFields"] == [
        {"manager": "kubectl", "fieldsV1": {"f:spec": {}}}
    ]


def test_fields_of_newer_releases_are_skipped() -> None:
    assert (
        decoded("Namespace", field(900, 1), field(901, b"x") + varint(902 << 3 | 1) + bytes(8))
        == {}
    )


def test_content_that_is_not_modelled_is_refused_not_dropped() -> None:
    with pytest.raises(BadBody, match="affinity"):
        decoded("Pod", field(2, field(18, field(1, b"x"))))


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"{}",
        body("v1", "Wombat", b""),
        body("v1", "Namespace", b"\x0a"),
        body("v1", "Namespace", b"\x0a\x05a"),
        body("v1", "Namespace", b"\x0b"),
        body("v1", "Namespace", b"\xff" * 11),
        body("v1", "Namespace", field(1, 1)),
        body("v1", "Namespace", field(1, field(1, b"\xff"))),
        body("v1", "DeleteOptions", field(1, b"x")),
        body("v1", "Event", field(6, field(1, 2**62))),
        body("v1", "Secret", field(1, field(17, field(7, field(1, b"{"))))),
        MAGIC + field(1, b"\xff"),
        MAGIC + field(2, 5),
    ],
)
def test_malformed_bodies_are_refused(broken: bytes) -> None:
    with pytest.raises(BadBody):
        decode_protobuf(broken)


@given(st.sampled_from(sorted(set(SCHEMAS) & set(NUMBERS))), st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(kind: str, raw: bytes) -> None:
    with contextlib.suppress(BadBody):
        assert decode_protobuf(body("v1", kind, raw))["kind"] == kind


def test_every_number_belongs_to_a_field() -> None:
    by_name: dict[str, Any] = {}

    def collect(schema: Any) -> None:
        if hasattr(schema, "fields"):
            if by_name.setdefault(schema.name, schema) is schema:
                for inner in schema.fields.values():
                    collect(inner)
        elif hasattr(schema, "item") or hasattr(schema, "value"):
            collect(getattr(schema, "item", None) or schema.value)

    for schema in SCHEMAS.values():
        collect(schema)
    for name, line in NUMBERS.items():
        numbers = [word.partition("=")[2] for word in line.split()]
        assert len(set(numbers)) == len(numbers), name
        for word in line.split():
            known = by_name[name].fields if name in by_name else {}
            plain = word.partition("=")[0].rstrip("*")
            assert (
                plain.startswith("~") or plain in known or name in {"VolumeSource", "ProbeHandler"}
            )
