"""The private key in a PEM text, sealed in place; certificates around it stay readable.

    -----BEGIN MUTUA SEALED PRIVATE KEY-----
    base64 of a sealed text (see `sealing`), which holds the PEM block as it was
    -----END MUTUA SEALED PRIVATE KEY-----

What is sealed says which certificate it belongs to, so that a key moved into another file with
another certificate is refused.
"""

import base64
import binascii
import re
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mutua.identity.sealing import Sealer, Unsealable

LABEL: Final = "MUTUA SEALED PRIVATE KEY"

CLEAR: Final = re.compile(
    r"-----BEGIN (?P<kind>(?:EC |RSA )?PRIVATE KEY)-----\n.*?-----END (?P=kind)-----\n?", re.DOTALL
)

SEALED: Final = re.compile(
    f"-----BEGIN {LABEL}-----\n(?P<text>.*?)-----END {LABEL}-----\n?", re.DOTALL
)

LINE: Final = 64
"""Characters of base64 in a line.  Source: RFC 7468 section 2."""


def seal_keys(pem: str, sealer: Sealer) -> str:
    """Replace private keys in clear by sealed ones."""
    what = _owner(pem)

    def sealed(match: re.Match[str]) -> str:
        text = base64.b64encode(sealer.seal(match[0].encode(), what)).decode()
        lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
        return "\n".join((f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", ""))

    return CLEAR.sub(sealed, pem)


def open_keys(pem: str, sealer: Sealer) -> str:
    """Replace sealed private keys by what was sealed.

    Raises:
        Unsealable: One of them is damaged, of another certificate, or of another data key.
    """
    what = _owner(pem)

    def opened(match: re.Match[str]) -> str:
        try:
            text = base64.b64decode(match["text"].replace("\n", ""), validate=True)
        except binascii.Error:
            text = b""
        return sealer.open(text, what).decode()

    return SEALED.sub(opened, pem)


def has_clear_keys(pem: str) -> bool:
    """Tell whether there is a private key that is not sealed."""
    return CLEAR.search(pem) is not None


def has_sealed_keys(pem: str) -> bool:
    """Tell whether there is a sealed private key, or what is left of one."""
    return f"-----BEGIN {LABEL}-----" in pem


def _owner(pem: str) -> str:
    start = pem.find("-----BEGIN CERTIFICATE-----")
    if start < 0:
        return "private key without certificate"
    try:
        certificate = x509.load_pem_x509_certificate(pem[start:].encode())
    except ValueError as error:
        raise Unsealable(f"the certificate next to a private key is damaged: {error}") from error
    return f"private key of certificate {certificate.fingerprint(hashes.SHA256()).hex()}"
