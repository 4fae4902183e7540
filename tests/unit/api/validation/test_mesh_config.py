"""What a MeshConfig may say, what becomes of it, and in which words it is refused."""

# ruff: noqa: E501 - tables
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mutua.api.access_log import ARGUMENTS, PLAIN
from mutua.api.mesh_config import (
    MESH_TLS,
    AccessLog,
    CaCertificate,
    MeshConfig,
    PathNormalization,
    TlsProfile,
    TlsVersion,
)
from mutua.api.tables.mesh import CIPHERS, CURVES, MESH_CONFIG, NOT_HONOURED
from mutua.api.validation.content import check_config_map
from mutua.api.validation.mesh_config import PATH, parse_mesh_config, read_mesh_config
from mutua.api.verdict import Invalid

DEFAULT = MeshConfig()
HYBRID = "X25519MLKEM768"


def parse(text: str) -> MeshConfig:
    return parse_mesh_config(text, DEFAULT)


def refusal(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        parse(text)
    return str(caught.value)


def config_map(**data: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "istio-system", "name": "istio"}, "data": data}


READ = [
    ("", {}),
    ("{}", {}),
    ("# only a comment", {}),
    ("trustDomain: null", {}),
    ("trustDomain: ''", {}),
    ("rootNamespace: mesh-cfg", {"root_namespace": "mesh-cfg"}),
    ("trustDomain: td1", {"trust_domain": "td1"}),
    ("trustDomainAliases: [td2, td3]", {"trust_domain_aliases": ("td2", "td3")}),
    ("caCertificates: [{pem: A, trustDomains: [td2]}, {pem: B}]", {
        "ca_certificates": (CaCertificate(pem="A", trust_domains=("td2",)), CaCertificate(pem="B"))
    }),
    ("enableAutoMtls: false", {"enable_auto_mtls": False}),
    ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", {"allow_any_outbound": False}),
    ("outboundTrafficPolicy: {mode: ALLOW_ANY}", {}),
    ("outboundTrafficPolicy: {}", {}),
    ("outboundTrafficPolicy: null", {}),
    ("inboundTrafficPolicy: {mode: PASSTHROUGH}", {}),
    ("connectTimeout: 2s", {"connect_timeout": 2.0}),
    ("connectTimeout: 500ms", {"connect_timeout": 0.5}),
    ("connectTimeout: 0.5s", {"connect_timeout": 0.5}),
    ("protocolDetectionTimeout: 1m30s", {"detection_timeout": 90.0}),
    ("protocolDetectionTimeout: 0s", {}),
    ("dnsRefreshRate: 5s", {"dns_refresh_rate": 5.0}),
    ("defaultServiceExportTo: ['.']", {"default_service_export_to": (".",)}),
    ("defaultDestinationRuleExportTo: [shop, '.']", {"default_destination_rule_export_to": ("shop", ".")}),
    ("defaultServiceExportTo: []", {}),
    ("inboundTrafficPolicy: {mode: LOCALHOST}", {"inbound_to_localhost": True}),
    ("inboundTrafficPolicy: {mode: PASSTHROUGH}", {}),
    ("h2UpgradePolicy: UPGRADE", {"h2_upgrade": True}),
    ("h2UpgradePolicy: DO_NOT_UPGRADE", {}),
    ("pathNormalization: {normalization: NONE}", {"path_normalization": PathNormalization.NONE}),
    ("pathNormalization: {normalization: DEFAULT}", {}),
    ("accessLogFile: /dev/stdout", {"access_log": AccessLog(file="/dev/stdout")}),
    ("{accessLogFile: /dev/stdout, accessLogEncoding: JSON}", {"access_log": AccessLog(file="/dev/stdout", encoding="JSON")}),
    ("accessLogFormat: '%START_TIME% %%'", {"access_log": AccessLog(format="%START_TIME% %%")}),
    ("disableEnvoyListenerLog: true", {"access_log": AccessLog(unmatched=False)}),
    ("meshMTLS: {minProtocolVersion: TLSV1_3}", {"mesh_tls": replace(MESH_TLS, minimum=TlsVersion.TLS_1_3)}),
    ("meshMTLS: {minProtocolVersion: TLS_AUTO}", {}),
    ("meshMTLS: {cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256]}", {"mesh_tls": replace(MESH_TLS, ciphers=("ECDHE-RSA-AES128-GCM-SHA256",))}),
    ("meshMTLS: {ecdhCurves: [X25519, P-256]}", {"mesh_tls": replace(MESH_TLS, curves=("X25519", "P-256"))}),
    ("tlsDefaults: {ecdhCurves: [P-384], minProtocolVersion: TLSV1_3}", {"tls_defaults": TlsProfile(minimum=TlsVersion.TLS_1_3, curves=("P-384",))}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), READ, ids=[text for text, _ in READ])
def test_what_is_said_is_what_is_meant(text: str, expected: dict[str, Any]) -> None:
    assert parse(text) == replace(DEFAULT, **expected)


def test_the_defaults_are_istios() -> None:
    assert (DEFAULT.root_namespace, DEFAULT.trust_domain) == ("istio-system", "cluster.local")
    assert DEFAULT.enable_auto_mtls
    assert DEFAULT.allow_any_outbound
    assert (DEFAULT.connect_timeout, DEFAULT.detection_timeout) == (10.0, 0.0)
    assert DEFAULT.path_normalization is PathNormalization.BASE
    assert DEFAULT.access_log.file == ""
    assert DEFAULT.default_service_export_to == DEFAULT.default_destination_rule_export_to == ("*",)


def test_the_hybrid_key_exchange_is_offered_first_and_not_alone() -> None:
    assert DEFAULT.mesh_tls.curves == (HYBRID, "X25519", "P-256")
    assert DEFAULT.mesh_tls.minimum is TlsVersion.TLS_1_2


def test_a_demand_for_the_hybrid_key_exchange_closes_the_way_round_it() -> None:
    # TLS 1.2 does not have it, and would negotiate something else.
    assert parse(f"meshMTLS: {{ecdhCurves: [{HYBRID}]}}").mesh_tls.minimum is TlsVersion.TLS_1_3


REFUSED = [
    ("trustDomain: [", "not YAML: line 1, column 15"),
    ("- trustDomain", "must be a mapping of settings"),
    ("a: 1\n---\nb: 2", "not YAML: line 2, column 1"),
    ("trustDomain: a\ntrustDomain: b", 'trustDomain: Duplicate value: "trustDomain"'),
    ("meshMTLS: {ecdhCurves: [], ecdhCurves: [P-256]}", "meshMTLS.ecdhCurves: Duplicate value"),
    ("a: &x [1]\nb: *x", "line 2, column 4: aliases are not supported"),
    ("? [a]\n: b", "a key must be a name"),
    ("on: true", "on: Invalid value"),
    ("enableAutoMTLS: true", 'enableAutoMTLS: Forbidden: unknown field, did you mean "enableAutoMtls"?'),
    ("mesh_mTLS: {}", 'did you mean "meshMTLS"?'),
    ("enable_auto_mtls: true", 'did you mean "enableAutoMtls"?'),
    ("outboundTrafficPolicy: {mod: ALLOW_ANY}", 'outboundTrafficPolicy.mod: Forbidden: unknown field, did you mean "mode"?'),
    ("zzz: 1", "zzz: Forbidden: unknown field"),
    ("enableAutoMtls: 'true'", "enableAutoMtls: Invalid value"),
    ("trustDomain: 7", "trustDomain: Invalid value"),
    ("trustDomain: UPPER", 'trustDomain: Invalid value: "UPPER"'),
    ("trustDomain: spiffe://td", "trustDomain: Invalid value"),
    ("trustDomainAliases: td", "must be of type array"),
    ("trustDomainAliases: [ok, 'a b']", 'trustDomainAliases[1]: Invalid value: "a b"'),
    ("caCertificates: [{}]", 'caCertificates[0]: Invalid value: "": must have either pem or spiffeBundleUrl'),
    ("caCertificates: [{pem: A, spiffeBundleUrl: 'https://a'}]", "must have either pem or spiffeBundleUrl"),
    ("caCertificates: [{pem: A}, {pem: B, trustDomains: [ok, A]}]", 'caCertificates[1].trustDomains[1]: Invalid value: "A"'),
    ("caCertificates: [{pem: A, roots: B}]", "roots"),
    ("rootNamespace: Not_A_Name", 'rootNamespace: Invalid value: "Not_A_Name"'),
    ("outboundTrafficPolicy: {mode: ANY}", 'outboundTrafficPolicy.mode: Unsupported value: "ANY": supported values: "ALLOW_ANY", "REGISTRY_ONLY"'),
    ("inboundTrafficPolicy: {mode: EVERYWHERE}", "inboundTrafficPolicy.mode: Unsupported value"),
    ("connectTimeout: 10", "must be of type string"),
    ("connectTimeout: ten", 'connectTimeout: Invalid value: "ten": must be a duration, as 10s or 500ms'),
    ("connectTimeout: ''", "must be a duration"),
    ("connectTimeout: 0s", "must be between 0.001s and 30s"),
    ("connectTimeout: 31s", "must be between 0.001s and 30s"),
    ("connectTimeout: -1s", "must be a duration"),
    ("protocolDetectionTimeout: 100h", "must be between 0s and 3600s"),
    ("protocolDetectionTimeout: 100us", "must be whole milliseconds"),
    ("defaultServiceExportTo: ['*', shop]", "defaultServiceExportTo[0]: Invalid value"),
    ("defaultServiceExportTo: [shop, shop]", "defaultServiceExportTo[1]: Duplicate value"),
    ("defaultDestinationRuleExportTo: [NOT]", "defaultDestinationRuleExportTo[0]: Invalid value"),
    ("h2UpgradePolicy: upgrade", "h2UpgradePolicy: Unsupported value"),
    ("pathNormalization: {normalization: ALL}", "pathNormalization.normalization: Unsupported value"),
    ("meshMTLS: {minProtocolVersion: TLSV1_1}", "meshMTLS.minProtocolVersion: Unsupported value"),
    ("meshMTLS: {cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, RC4-MD5]}", 'meshMTLS.cipherSuites[1]: Unsupported value: "RC4-MD5"'),
    ("meshMTLS: {cipherSuites: [AES128-SHA, AES128-SHA]}", "meshMTLS.cipherSuites[1]: Duplicate value"),
    ("tlsDefaults: {ecdhCurves: [P-512]}", 'tlsDefaults.ecdhCurves[0]: Unsupported value: "P-512"'),
    (f"meshMTLS: {{ecdhCurves: [{HYBRID}], minProtocolVersion: TLSV1_2}}", "say TLSV1_3, or add X25519"),
    ("accessLogFile: /var/log/envoy.log", "accessLogFile: Unsupported value"),
    ("accessLogEncoding: YAML", "accessLogEncoding: Unsupported value"),
    ("accessLogFormat: '%NO_SUCH%'", "unknown operator %NO_SUCH%"),
    ("accessLogFormat: '%DURATION'", "the operator at '%DURATION' is not complete"),
    ("accessLogFormat: '100%'", "is not complete"),
    ("accessLogFormat: '%REQ%'", "operator REQ needs an argument"),
    ("accessLogFormat: '%REQ(a b)%'", "operator REQ does not take the argument 'a b'"),
    ("accessLogFormat: '%REQ(a:b)%'", "operator REQ does not take the argument 'a:b'"),
    ("accessLogFormat: '%START_TIME(%Y%n)%'", "operator START_TIME does not take the argument"),
    ("accessLogFormat: '%DURATION(x)%'", "operator DURATION takes no argument"),
    ("accessLogFormat: '%PROTOCOL:3%'", "operator PROTOCOL takes no length"),
    ("{accessLogEncoding: JSON, accessLogFormat: plain}", "must be a JSON object with accessLogEncoding JSON"),
    ("{accessLogEncoding: JSON, accessLogFormat: '[1]'}", "must be a JSON object"),
    ('{accessLogEncoding: JSON, accessLogFormat: \'{"a": NaN}\'}', "NaN is not JSON"),
    ('{accessLogEncoding: JSON, accessLogFormat: \'{"a": {"b": ["%X%"]}}\'}', "accessLogFormat.a.b[0]: Invalid value"),
    ('{accessLogEncoding: JSON, accessLogFormat: \'{"a": null}\'}', "accessLogFormat.a: Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_refused_names_the_field_and_what_would_be_right(text: str, words: str) -> None:
    assert words in refusal(text)


def test_all_errors_come_at_once() -> None:
    found = refusal("rootNamespace: A\ntrustDomain: B\nmeshMTLS: {ecdhCurves: [P-256, P-256]}")

    for name in ("rootNamespace", "trustDomain", "meshMTLS.ecdhCurves[1]"):
        assert name in found


@given(st.text(alphabet="{}[]:,-#&*!|>'\"%@?\n \tab1", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(Invalid):  # and nothing else
        parse(text)


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{b: " * 500, "!!python/object:os.system {}"])
def test_hostile_text_is_refused(text: str) -> None:
    assert "not YAML" in refusal(text)


def test_without_a_config_map_everything_is_as_it_was() -> None:
    base = MeshConfig(trust_domain="td1")

    assert read_mesh_config(None, base) is base


@pytest.mark.parametrize("data", [{}, {"Mesh": ""}], ids=["empty", "misspelt"])
def test_a_config_map_without_settings_is_refused(data: dict[str, str]) -> None:
    verdict = check_config_map(config_map(**data), None)

    assert [str(one) for one in verdict.errors] == [
        f"{PATH}: Required value: the mesh's settings, as YAML"
    ]


def test_admission_names_the_place_inside_the_config_map() -> None:
    verdict = check_config_map(config_map(mesh="meshMTLS: {minProtocolVersion: 1.3}"), None)

    assert [one.path for one in verdict.errors] == ["data[mesh].meshMTLS.minProtocolVersion"]


def test_other_config_maps_may_say_what_they_like() -> None:
    elsewhere = config_map(mesh="trustDomain: UPPER")
    elsewhere["metadata"]["namespace"] = "default"

    assert check_config_map(elsewhere, None).errors == []


@pytest.mark.parametrize("name", sorted(NOT_HONOURED))
def test_what_only_istio_honours_is_said(name: str) -> None:
    verdict = check_config_map(config_map(mesh=f"{name}: {{x: 1}}"), None)

    assert verdict.errors == []
    assert verdict.warnings == [f"{PATH}.{name}: has no effect in this mesh"]


def test_other_keys_of_the_config_map_have_no_effect_and_it_is_said() -> None:
    verdict = check_config_map(config_map(mesh="", meshNetworks="networks: {}"), None)

    assert verdict.warnings == ["data[meshNetworks]: has no effect in this mesh"]


def test_what_another_ca_can_do_is_said() -> None:
    text = "caCertificates: [{spiffeBundleUrl: 'https://a'}, {pem: A, certSigners: [b]}]"
    verdict = check_config_map(config_map(mesh=text), None)

    where = f"{PATH}.caCertificates[1].pem"
    without_list = (
        f"{where}: holds no revocation list, so while a certificate of this mesh is revoked, "
        "proxies refuse those of this CA"
    )
    assert verdict.warnings == [
        f"{PATH}.caCertificates[0].spiffeBundleUrl: has no effect in this mesh",
        f"{PATH}.caCertificates[1].certSigners: has no effect in this mesh",
        f"{where}: proxies believe whatever this CA signs, identities of this mesh included",
        without_list,
    ]


def test_a_log_format_without_a_log_is_said() -> None:
    verdict = check_config_map(config_map(mesh="accessLogFormat: '%PROTOCOL%'"), None)

    assert verdict.warnings == [
        f"{PATH}.accessLogFormat: has no effect while accessLogFile is empty"
    ]


@pytest.mark.parametrize(("text", "is_warned"), [
    ("trustDomain: td2", True),
    ("{trustDomain: td2, trustDomainAliases: [td1]}", False),
    ("trustDomain: td1", False),
])  # fmt: skip
def test_a_trust_domain_that_is_left_behind_is_said(text: str, is_warned: bool) -> None:
    before = config_map(mesh="trustDomain: td1")

    warnings = check_config_map(config_map(mesh=text), before).warnings

    assert bool(warnings) == is_warned
    assert all("add it to trustDomainAliases" in one for one in warnings)


def test_no_field_is_both_honoured_and_not() -> None:
    assert not NOT_HONOURED & MESH_CONFIG.fields.keys()


@pytest.mark.parametrize("name", sorted(PLAIN | ARGUMENTS.keys()))
def test_every_known_operator_is_accepted(name: str) -> None:
    operator = f"%{name}%" if name in PLAIN else f"%{name}(x)%"

    assert parse(yaml.safe_dump({"accessLogFormat": operator})).access_log.format == operator
    in_json = {
        "accessLogEncoding": "JSON",
        "accessLogFormat": json.dumps({"a": [operator, 1, True]}),
    }
    assert parse(yaml.safe_dump(in_json)).access_log.encoding == "JSON"


def test_every_known_curve_and_cipher_is_accepted() -> None:
    text = yaml.safe_dump({"tlsDefaults": {"ecdhCurves": [*CURVES], "cipherSuites": [*CIPHERS]}})

    assert parse(text).tls_defaults == TlsProfile(curves=CURVES, ciphers=CIPHERS)
