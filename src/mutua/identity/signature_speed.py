"""What a certificate costs at least: the three P-256 operations that no authority can avoid."""

from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

MESSAGE = bytes(500)
"""About as long as what is signed of a certificate."""


def sign_and_verify_twice() -> Callable[[], None]:
    """Return work: verify a request, sign a certificate, verify what was signed."""
    key, algorithm = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    public, signature = key.public_key(), key.sign(MESSAGE, algorithm)

    def work() -> None:
        public.verify(signature, MESSAGE, algorithm)
        public.verify(key.sign(MESSAGE, algorithm), MESSAGE, algorithm)

    return work
