"""From the text of a MeshConfig to its value, or to everything that is wrong with it.

The one parser: admission refuses what this module refuses, and the control plane uses its results.

    a field that mutua honours       read, every error with its path
    a field that only Istio honours  a warning
    any other field                  refused, with the nearest known name
    an absent field, or null         its default

What Envoy would refuse (a curve, a cipher, an operator of the log format) is refused here, because
Envoy would refuse it together with everything else in the same resource.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from mutua.api.access_log import format_errors
from mutua.api.duration import duration_fault, parse_duration
from mutua.api.mesh_config import (
    AccessLog,
    CaCertificate,
    MeshConfig,
    PathNormalization,
    TlsProfile,
    TlsVersion,
)
from mutua.api.object import Object
from mutua.api.shape import ListOf, Struct, child, misshapen
from mutua.api.strict_yaml import read_yaml
from mutua.api.tables.mesh import HYBRID_CURVES, MESH_CONFIG, NOT_HONOURED, NOT_HONOURED_CA
from mutua.api.validation.names import dns_label, name_errors
from mutua.api.verdict import FieldError, Invalid, Verdict, duplicate, forbidden, invalid, required
from mutua.foundation.spiffe import TRUST_DOMAIN

NAMESPACE: Final = "istio-system"
NAME: Final = "istio"
KEY: Final = "mesh"
PATH: Final = f"data[{KEY}]"

CONNECT_TIMEOUTS: Final = (0.001, 30.0)
"""Shortest and longest, in seconds.  Source: istio pkg/config/validation ValidateConnectTimeout."""

LONGEST: Final = 3600.0
"""Seconds: more than that in any other duration is a mistake in the unit."""

T = TypeVar("T", bound=MeshConfig)


def parse_mesh_config(text: str, base: T, path: str = "") -> T:
    """Read a MeshConfig.

    Args:
        text: YAML.
        base: The values of absent fields.
        path: Where the text stands, for messages.

    Raises:
        Invalid: It is not one; carries every error found.
    """
    return _settings(_tree(text, path), base)


def read_mesh_config(config_map: Object | None, base: T) -> T:
    """Read the MeshConfig in the ConfigMap; without a ConfigMap everything is as in `base`.

    Raises:
        Invalid: It is not one; paths are those of the ConfigMap.
    """
    if config_map is None:
        return base
    if (text := (config_map.get("data") or {}).get(KEY)) is None:
        raise Invalid([required(PATH, "the mesh's settings, as YAML")])
    return parse_mesh_config(text, base, PATH)


def is_mesh_config(obj: Object) -> bool:
    """Tell whether a ConfigMap is the one with the mesh's settings."""
    metadata = obj.get("metadata") or {}
    return (metadata.get("namespace"), metadata.get("name")) == (NAMESPACE, NAME)


def check_mesh_config(obj: Object, old: Object | None = None) -> Verdict:
    """Return what admission has to say about the ConfigMap with the mesh's settings."""
    try:
        settings = read_mesh_config(obj, MeshConfig())
    except Invalid as refusal:
        return Verdict(errors=list(refusal.errors))
    tree = _plain(read_yaml(obj["data"][KEY]))
    ignored = [f"{PATH}.{name}" for name in sorted(tree) if name in NOT_HONOURED]
    for index, one in enumerate(tree.get("caCertificates") or ()):
        where = f"{PATH}.caCertificates[{index}]"
        ignored += [child(where, name) for name in NOT_HONOURED_CA if one.get(name)]
    ignored += [f"data[{key}]" for key in sorted(obj["data"]) if key != KEY]
    warnings = [f"{path}: has no effect in this mesh" for path in ignored]
    warnings += _consequences(settings, old)
    return Verdict(warnings=warnings)


def _consequences(settings: MeshConfig, old: Object | None) -> Iterator[str]:
    """Yield what the author of an acceptable text might not expect."""
    if settings.access_log.format and not settings.access_log.file:
        yield f"{PATH}.accessLogFormat: has no effect while accessLogFile is empty"
    for index, one in enumerate(settings.ca_certificates):
        if not one.pem:
            continue
        where = f"{PATH}.caCertificates[{index}].pem"
        yield f"{where}: proxies believe whatever this CA signs, identities of this mesh included"
        if "BEGIN X509 CRL" not in one.pem:
            yield (
                f"{where}: holds no revocation list, so while a certificate of this mesh is "
                "revoked, proxies refuse those of this CA"
            )
    try:
        before = read_mesh_config(old, MeshConfig()).trust_domain
    except Invalid:
        return
    if old is not None and before not in {settings.trust_domain, *settings.trust_domain_aliases}:
        yield (
            f"{PATH}.trustDomain: was {before}, which is no alias now: proxies with certificates "
            f"of {before} are refused until they have new ones; add it to trustDomainAliases"
        )


def _tree(text: str, path: str) -> Mapping[str, Any]:
    """Return the fields that mutua honours, of the right shape and meaning."""
    found = read_yaml(text, path)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Invalid([invalid(path, found, "must be a mapping of settings")])
    tree = _plain(found)
    errors = [*_unknown(MESH_CONFIG, tree, path, also=NOT_HONOURED)]
    honoured = {name: value for name, value in tree.items() if name not in NOT_HONOURED}
    errors += misshapen(MESH_CONFIG, honoured, path)
    if not errors:
        errors += _meaning(honoured, path)
    if errors:
        raise Invalid(errors)
    return honoured


def _plain(tree: Any) -> dict[str, Any]:
    """Return the fields that have a value: null is absence."""
    return {name: value for name, value in (tree or {}).items() if value is not None}


def _unknown(
    schema: Struct, tree: Mapping[str, Any], path: str, *, also: frozenset[str] = frozenset()
) -> Iterator[FieldError]:
    """Yield fields that neither mutua nor Istio knows."""
    names = {name.lower(): name for name in (*schema.fields, *also)}
    for name, value in tree.items():
        where, part = child(path, name), schema.fields.get(name)
        if part is None and name not in also:
            plain = name.lower().replace("_", "")
            near = get_close_matches(plain, names, n=1)
            hint = f', did you mean "{names[near[0]]}"?' if near else ""
            yield forbidden(where, f"unknown field{hint}")
        elif isinstance(part, Struct) and isinstance(value, dict):
            yield from _unknown(part, value, where)
        elif isinstance(part, ListOf) and isinstance(part.item, Struct) and isinstance(value, list):
            for index, one in enumerate(value):
                if isinstance(one, dict):
                    yield from _unknown(part.item, one, f"{where}[{index}]")


def _meaning(tree: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """Yield what is wrong with values of the right shape."""
    if namespace := tree.get("rootNamespace"):
        yield from name_errors(child(path, "rootNamespace"), namespace, dns_label)
    domains = [("trustDomain", tree.get("trustDomain") or "cluster.local")]
    domains += _numbered("trustDomainAliases", tree.get("trustDomainAliases"))
    for name, one in _numbered("caCertificates", tree.get("caCertificates")):
        domains += _numbered(f"{name}.trustDomains", one.get("trustDomains"))
        if bool(one.get("pem")) == bool(one.get("spiffeBundleUrl")):
            yield invalid(child(path, name), "", "must have either pem or spiffeBundleUrl")
    for name, domain in domains:
        if not TRUST_DOMAIN.fullmatch(domain):
            detail = "must be lower-case letters, digits, '.', '-' and '_', 255 at most"
            yield invalid(child(path, name), domain, detail)
    yield from _duration_errors(tree, "connectTimeout", path, *CONNECT_TIMEOUTS)
    yield from _duration_errors(tree, "protocolDetectionTimeout", path, 0.0, LONGEST)
    yield from _duration_errors(tree, "dnsRefreshRate", path, 0.001, LONGEST)
    for name in ("defaultServiceExportTo", "defaultDestinationRuleExportTo"):
        yield from _export_errors(tree.get(name) or (), child(path, name))
    for name in ("meshMTLS", "tlsDefaults"):
        yield from _tls_errors(_plain(tree.get(name)), child(path, name))
    if text := tree.get("accessLogFormat"):
        for place, fault in format_errors(tree.get("accessLogEncoding") or "TEXT", text):
            where = child(path, "accessLogFormat")
            yield invalid(f"{where}.{place}" if place else where, text, fault)


def _numbered(name: str, values: Sequence[Any] | None) -> list[tuple[str, Any]]:
    return [(f"{name}[{index}]", one) for index, one in enumerate(values or ())]


def _duration_errors(
    tree: Mapping[str, Any], name: str, path: str, low: float, high: float
) -> Iterator[FieldError]:
    if (text := tree.get(name)) is None:
        return
    if fault := duration_fault(text, low, high):
        yield invalid(child(path, name), text, fault)


def _export_errors(targets: Sequence[str], path: str) -> Iterator[FieldError]:
    for index, target in enumerate(targets):
        if target in targets[:index]:
            yield duplicate(f"{path}[{index}]", target)
        elif target in {"*", "~"} and len(targets) > 1:
            yield invalid(f"{path}[{index}]", target, "cannot be combined with others")
        elif target not in {"*", ".", "~"}:
            yield from name_errors(f"{path}[{index}]", target, dns_label)


def _tls_errors(tls: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("ecdhCurves", "cipherSuites"):
        values = tls.get(name) or []
        yield from (
            duplicate(f"{child(path, name)}[{index}]", value)
            for index, value in enumerate(values)
            if value in values[:index]
        )
    if tls.get("minProtocolVersion") == "TLSV1_2" and _needs_tls_1_3(tls):
        yield invalid(
            child(path, "minProtocolVersion"),
            "TLSV1_2",
            f"{', '.join(tls['ecdhCurves'])} needs TLS 1.3: say TLSV1_3, or add X25519",
        )


def _needs_tls_1_3(tls: Mapping[str, Any]) -> bool:
    """Tell whether TLS 1.2 would go round the demand for a hybrid key exchange."""
    curves = tls.get("ecdhCurves") or ()
    return bool(curves) and all(curve in HYBRID_CURVES for curve in curves)


def _settings(tree: Mapping[str, Any], base: T) -> T:
    policy = _plain(tree.get("outboundTrafficPolicy")).get("mode")
    inbound = _plain(tree.get("inboundTrafficPolicy")).get("mode")
    normalization = _plain(tree.get("pathNormalization")).get("normalization") or "DEFAULT"
    upgrade = tree.get("h2UpgradePolicy")
    given: dict[str, Any] = {
        "root_namespace": tree.get("rootNamespace"),
        "trust_domain": tree.get("trustDomain"),
        "trust_domain_aliases": tuple(tree.get("trustDomainAliases") or ()),
        "ca_certificates": tuple(
            CaCertificate(
                pem=one.get("pem") or "", trust_domains=tuple(one.get("trustDomains") or ())
            )
            for one in tree.get("caCertificates") or ()
        ),
        "enable_auto_mtls": tree.get("enableAutoMtls"),
        "allow_any_outbound": None if policy is None else policy == "ALLOW_ANY",
        "inbound_to_localhost": None if inbound is None else inbound == "LOCALHOST",
        "connect_timeout": parse_duration(tree.get("connectTimeout") or ""),
        "detection_timeout": parse_duration(tree.get("protocolDetectionTimeout") or ""),
        "dns_refresh_rate": parse_duration(tree.get("dnsRefreshRate") or ""),
        "default_service_export_to": tuple(tree.get("defaultServiceExportTo") or ()),
        "default_destination_rule_export_to": tuple(
            tree.get("defaultDestinationRuleExportTo") or ()
        ),
        "h2_upgrade": None if upgrade is None else upgrade == "UPGRADE",
        "path_normalization": (
            None if normalization == "DEFAULT" else PathNormalization(normalization)
        ),
        "access_log": _access_log(tree),
        "mesh_tls": _tls(_plain(tree.get("meshMTLS")), base.mesh_tls),
        "tls_defaults": _tls(_plain(tree.get("tlsDefaults")), base.tls_defaults),
    }
    absent = (None, "", ())
    return replace(base, **{name: one for name, one in given.items() if one not in absent})


def _access_log(tree: Mapping[str, Any]) -> AccessLog:
    return AccessLog(
        file=tree.get("accessLogFile") or "",
        encoding=tree.get("accessLogEncoding") or "TEXT",
        format=tree.get("accessLogFormat") or "",
        unmatched=not tree.get("disableEnvoyListenerLog"),
    )


def _tls(tls: Mapping[str, Any], base: TlsProfile) -> TlsProfile:
    strict = tls.get("minProtocolVersion") == "TLSV1_3" or _needs_tls_1_3(tls)
    return TlsProfile(
        minimum=TlsVersion.TLS_1_3 if strict else TlsVersion.TLS_1_2,
        curves=tuple(tls.get("ecdhCurves") or base.curves),
        ciphers=tuple(tls.get("cipherSuites") or base.ciphers),
    )
