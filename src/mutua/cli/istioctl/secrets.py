"""`proxy-config secret`: which certificates does this proxy hold, and are they valid?"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from mutua.api.object import Object
from mutua.cli.istioctl.dump import section
from mutua.foundation.clock import rfc3339
from mutua.foundation.errors import Rejected
from mutua.identity.facts import CertificateFacts, certificate_facts

HEADER: Final = (
    "RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE",
)  # fmt: skip

TRUST_DOMAIN: Final = "TRUST DOMAIN"
"""One more column, where every certificate names one (istio-semantics 10.2)."""

ROOTS: Final = "ROOTCA"
"""Name of the secret with the roots."""

OWN: Final = "default"
"""Name of the secret with the proxy's own certificate."""

STATES: Final[Mapping[str, str]] = {
    "dynamicActiveSecrets": "ACTIVE",
    "dynamicWarmingSecrets": "WARMING",
}


def secrets(dump: Mapping[str, Any]) -> Object:
    """Return the SecretsConfigDump of a readable dump: the proxy's own certificate, others, roots.

    Envoy's order is none; pipelines ask for `dynamicActiveSecrets[0]` and mean the proxy's own.
    """
    part = section(dump, "SecretsConfigDump")
    return {state: sorted(part[state], key=_rank) for state in STATES if part.get(state)}


def _rank(entry: Object) -> tuple[bool, bool]:
    return "tlsCertificate" not in entry.get("secret", {}), entry.get("name") != OWN


def roots(dump: Mapping[str, Any]) -> frozenset[str]:
    """Return the fingerprints of the roots that the proxy of a readable dump trusts.

    Not their serial numbers, which a CA gives as it likes.
    """
    return frozenset(
        certificate.fingerprint
        for one in _active(dump, ROOTS)
        for certificate in _certificates(one.get("validationContext", {}).get("trustedCa", {}))
    )


def compare_roots(first: tuple[str, frozenset[str]], second: tuple[str, frozenset[str]]) -> str:
    """Say that two proxies trust the same roots.

    Args:
        first: A proxy's name, and what `roots` returned for it.
        second: Another one's.

    Raises:
        Rejected: They do not, or one of them has none yet.
    """
    for name, held in (first, second):
        if not held:
            raise Rejected(f"the proxy of {name} holds no roots yet")
    names = f"{first[0]} and {second[0]}"
    if not first[1] & second[1]:
        raise Rejected(f"{names} hold different roots: mutual TLS between them cannot work")
    if first[1] != second[1]:
        raise Rejected(
            f"{names} hold different roots, and some in common: mutual TLS between them works with"
            " certificates of those only"
        )
    return f"{names} hold the same roots: mutual TLS between them can work"


def pems(dump: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the proxy of a readable dump presents and what it trusts, PEM; "" for nothing."""
    own = [one["tlsCertificate"].get("certificateChain", {}) for one in _active(dump, OWN)]
    trust = [one["validationContext"].get("trustedCa", {}) for one in _active(dump, ROOTS)]
    return "".join(map(_pem, own)), "".join(map(_pem, trust))


def _active(dump: Mapping[str, Any], name: str) -> list[Object]:
    active = secrets(dump).get("dynamicActiveSecrets", ())
    return [one["secret"] for one in active if one.get("name") == name]


def table(
    found: Mapping[str, Any], now: datetime, prefix: str = ""
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a header, and one row per certificate, one per root of a bundle.

    Args:
        found: What `secrets` returned.
        now: Decides on validity.
        prefix: Of the first column.
    """
    rows = [
        (prefix + one.get("name", ""), *cells)
        for state, status in STATES.items()
        for one in found.get(state, ())
        for cells in _cells(one.get("secret", {}), status, now)
    ]
    if rows and all(row[-1] for row in rows):
        return (*HEADER, TRUST_DOMAIN), rows
    return HEADER, [row[:-1] for row in rows]


def _cells(secret: Object, status: str, now: datetime) -> list[tuple[str, ...]]:
    if "tlsCertificate" in secret:
        leaf = _certificates(secret["tlsCertificate"].get("certificateChain", {}))[:1]
        kind, certificates = "Cert Chain", leaf
    else:
        context = secret.get("validationContext", {})
        kind, certificates = "CA", _certificates(context.get("trustedCa", {}))
    if not certificates:
        return [(kind, "UNINITIALIZED", "false", "", "", "", "")]
    return [
        (
            kind,
            status,
            str(one.is_valid(now)).lower(),
            one.serial_number,
            rfc3339(one.not_after),
            rfc3339(one.not_before),
            one.uris[0].partition("://")[2].partition("/")[0] if one.uris else "",
        )
        for one in certificates
    ]


def _pem(source: Object) -> str:
    if encoded := source.get("inlineBytes"):
        return base64.b64decode(encoded).decode(errors="replace")
    return str(source.get("inlineString", ""))


def _certificates(source: Object) -> Sequence[CertificateFacts]:
    text = _pem(source)
    try:
        return certificate_facts(text) if text else ()
    except Rejected:
        return ()
