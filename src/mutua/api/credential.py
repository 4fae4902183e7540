"""Secrets that DestinationRules name with `credentialName`: which keys they need.

    kubernetes.io/tls   tls.crt  tls.key  ca.crt  ca.crl
    generic             cert     key      cacert  crl

Roots may be in a Secret of their own, NAME-cacert.  Source: istio-semantics 2.9 and 3.6.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from mutua.api.destination import ROOTS, ClientTls, TlsMode
from mutua.api.object import Object

CHAIN_KEYS: Final = ("cert", "tls.crt")
KEY_KEYS: Final = ("key", "tls.key")
ROOTS_KEYS: Final = ("cacert", "ca.crt")
CRL_KEYS: Final = ("crl", "ca.crl")


def credential_fault(
    tls: ClientTls, namespace: str, find: Callable[[str], Object | None]
) -> tuple[str, bool]:
    """Return what is wrong with the Secrets that a rule names, "" for nothing.

    Args:
        tls: What the rule says: SIMPLE or MUTUAL, with a `credentialName`.
        namespace: Of the rule, and so of its Secrets.
        find: Returns the Secret of that namespace with a name, None without one.

    Returns:
        The words, and whether there is a Secret at all.
    """
    name = tls.credential_name
    own = find(name)
    roots = find(name + ROOTS) or own
    wanted: list[tuple[Object | None, tuple[str, ...]]] = []
    if tls.mode is TlsMode.MUTUAL:
        wanted += [(own, CHAIN_KEYS), (own, KEY_KEYS)]
    if not tls.insecure_skip_verify:
        wanted.append((roots, ROOTS_KEYS))
    for secret, keys in wanted:
        if secret is None:
            return f"Secret {namespace}/{name} does not exist", False
        if not value_of(secret, keys):
            return f"Secret {namespace}/{secret['metadata']['name']} has no {keys[1]}", True
    return "", True


def value_of(secret: Object, keys: tuple[str, ...]) -> bytes:
    """Return what the first of these keys holds that a Secret has, b"" without any.

    A manifest may give it as `stringData`; of a stored Secret all is in `data`.
    """
    data: Mapping[str, str] = secret.get("data") or {}
    written: Mapping[str, str] = secret.get("stringData") or {}
    for key in keys:
        if written.get(key):
            return written[key].encode()
        if data.get(key):
            try:
                return base64.b64decode(data[key], validate=True)
            except binascii.Error:
                return b""
    return b""
