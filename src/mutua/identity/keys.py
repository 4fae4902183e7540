"""Private and public keys as values: made, read, and told which kinds are certified.

A `PrivateKey` never shows itself.  P-256 is what workloads get unless they ask for another kind;
EdDSA is refused, because Envoy cannot present it.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, cast, final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from typing_extensions import override

from mutua.foundation.errors import Rejected

MIN_RSA_BITS: Final = 2048
"""Shortest RSA key that is made or certified.  Source: istio WORKLOAD_RSA_KEY_SIZE minimum."""

CURVES: Final = (ec.SECP256R1, ec.SECP384R1)
"""Curves that are made, read and certified.  Source: istio ECC_CURVE."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class KeyAlgorithm(Enum):
    """Kinds of keys that are made here."""

    P256 = "ECDSA P-256"
    P384 = "ECDSA P-384"
    RSA2048 = "RSA 2048"
    RSA3072 = "RSA 3072"
    RSA4096 = "RSA 4096"

    @property
    def is_slow(self) -> bool:
        """Whether making one takes as long as thousands of elliptic-curve keys: up to seconds."""
        return self.value.startswith("RSA")


class Malformed(Rejected):
    """The text is not the PEM object it should be."""

    code = "identity.malformed"


@final
class PrivateKey:
    """An ECDSA or RSA private key.  Its text form exists only in what `pem` returns."""

    __slots__ = ("_key",)

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        self._key = key

    @override
    def __repr__(self) -> str:
        return "PrivateKey(redacted)"

    @override
    def __reduce__(self) -> str:
        raise TypeError("private keys are not pickled")

    def pem(self) -> str:
        """Return the key as unencrypted PKCS #8 PEM.

        Security:
            The result is the secret itself: write it to a 0600 file or to Envoy, nowhere else.
        """
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def encrypted_pem(self, password: str) -> str:
        """Return the key as PKCS #8 PEM that is encrypted with a password."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        ).decode()

    @property
    def signer(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        """The key as `cryptography` wants it; for modules of mutua.identity only."""
        return self._key

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._key.public_key()


def new_key(algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> PrivateKey:
    """Make a key from the operating system's randomness."""
    return PrivateKey(_MAKERS[algorithm]())


_MAKERS: Final[
    Mapping[KeyAlgorithm, Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]]
] = {
    KeyAlgorithm.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyAlgorithm.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyAlgorithm.RSA2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyAlgorithm.RSA3072: lambda: rsa.generate_private_key(65537, 3072),
    KeyAlgorithm.RSA4096: lambda: rsa.generate_private_key(65537, 4096),
}


def parse_key(pem: str) -> PrivateKey:
    """Read a private key.

    Raises:
        Malformed: Not an unencrypted private key of a supported kind.  The message never quotes
            the text.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # `from None`: the parser's own message may contain bytes of the key.
        raise Malformed("not an unencrypted PEM private key") from None
    require_supported(key.public_key())
    return PrivateKey(cast("ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey", key))


def require_supported(key: object) -> PublicKey:
    """Return a public key of a kind that is certified; for modules of mutua.identity only.

    Raises:
        Malformed: It is of another kind, or too short.
    """
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    hint = f"use P-256, P-384, or RSA with at least {MIN_RSA_BITS} bits"
    raise Malformed(f"keys of the kind {_kind(key)} are not certified here", hint=hint)


def _kind(key: object) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ECDSA on curve {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"RSA with {key.key_size} bits"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return "EdDSA, which Envoy cannot present,"
        case _:
            return type(key).__name__.lstrip("_")


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384:
    """Return the hash that is as strong as the key; for modules of mutua.identity only."""
    signer = key.signer
    is_p384 = isinstance(signer, ec.EllipticCurvePrivateKey) and signer.curve.key_size > 256
    return hashes.SHA384() if is_p384 else hashes.SHA256()
