"""Sealing: text at rest that only the holder of one data key can read, and nobody can alter.

    "MUTUASEAL" | version 1 | key id 8 | nonce 12 | ciphertext and tag

AES-256-GCM with a random nonce.  What the text *is* ("secrets shop/cacerts") and the header are
the associated data: a sealed text that was damaged, cut, or moved to another place is refused, and
the refusal names the place.  What this cannot notice is an older sealed text put back in its own
place.

Random nonces of 96 bits are safe for 2^32 texts under one key (NIST SP 800-38D section 8.3), which
is one write a second for 136 years.
"""

import hashlib
import secrets
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from typing_extensions import override

from mutua.foundation.errors import Rejected

KEY_BYTES: Final = 32
"""Of the data key: AES-256."""

MAGIC: Final = b"MUTUASEAL"
"""How every sealed text starts; no JSON or PEM text does."""

VERSION: Final = b"\x01"

KEY_ID_BYTES: Final = 8

NONCE_BYTES: Final = 12
"""Source: NIST SP 800-38D section 5.2.1.1 recommends 96 bits."""

_HEADER: Final = len(MAGIC) + len(VERSION) + KEY_ID_BYTES


class Unsealable(Rejected):
    """A sealed text cannot be read: it is damaged, misplaced, or of another data key."""

    code = "identity.unsealable"


@final
class Sealer:
    """Seals and opens texts with one data key.

    Attributes:
        key_id: Names the data key without telling anything about it; 16 hexadecimal digits.
        seals_files: Private keys in files are to be sealed as well, because the data key itself is
            protected; otherwise it would lie next to them in clear.
    """

    __slots__ = ("_cipher", "key_id", "seals_files")

    def __init__(self, key: bytes, *, seals_files: bool = False) -> None:
        """Use a data key.

        Raises:
            ValueError: It has not `KEY_BYTES` bytes.  A bug in the caller.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)
        self.key_id = key_id(key)
        self.seals_files = seals_files

    @override
    def __repr__(self) -> str:
        return f"Sealer({self.key_id}, redacted)"

    @override
    def __reduce__(self) -> str:
        raise TypeError("data keys are not pickled")

    def seal(self, plain: bytes, what: str) -> bytes:
        """Return `plain` sealed as being `what`."""
        header = MAGIC + VERSION + bytes.fromhex(self.key_id)
        nonce = secrets.token_bytes(NONCE_BYTES)
        return header + nonce + self._cipher.encrypt(nonce, plain, header + what.encode())

    def open(self, sealed: bytes, what: str) -> bytes:
        """Return what was sealed as being `what`.

        Raises:
            Unsealable: It was not, not with this key, or has been altered since.
        """
        header, rest = sealed[:_HEADER], sealed[_HEADER:]
        if not is_sealed(sealed) or len(rest) < NONCE_BYTES:
            raise Unsealable(f"{what}: not a sealed text", hint="restore it from a backup")
        if header[len(MAGIC) : -KEY_ID_BYTES] != VERSION:
            raise Unsealable(
                f"{what}: sealed in a newer format", hint="use the version of mutua that wrote it"
            )
        used = header[-KEY_ID_BYTES:].hex()
        if used != self.key_id:
            raise Unsealable(
                f"{what}: sealed with data key {used}, and this is data key {self.key_id}",
                hint="restore the data key and what it sealed from the same backup",
            )
        nonce, ciphertext = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, header + what.encode())
        except InvalidTag:
            raise Unsealable(
                f"{what}: the sealed text is damaged, or belongs elsewhere",
                hint="restore it from a backup",
            ) from None


def is_sealed(text: bytes) -> bool:
    """Tell whether a text claims to be sealed."""
    return text.startswith(MAGIC)


def key_id(key: bytes) -> str:
    """Return the public name of a data key."""
    return hashlib.sha256(b"mutua data key\0" + key).digest()[:KEY_ID_BYTES].hex()
