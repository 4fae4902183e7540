"""CAs of other meshes: certificates of theirs are accepted, but nothing is signed with them."""

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mutua.identity.bundle import TrustBundle, bundle_of
from mutua.identity.crl import lists_in
from mutua.identity.facts import PRIVATE_KEY
from mutua.identity.keys import Malformed, require_supported
from mutua.identity.x509 import parse_certificates


def read_peer_authority(pem: str) -> TrustBundle:
    """Read the certificates of a CA, and its revocation lists if there are any.

    Whether they are valid now is not asked: that changes by itself, and every proxy looks.

    Raises:
        Malformed: It holds no certificate, one that is not a CA's, a damaged list, or a key.
    """
    if PRIVATE_KEY.search(pem):
        raise Malformed("there is a private key, which belongs to its owner alone")
    for one in parse_certificates(pem):
        for why in _faults(one):
            raise Malformed(f"{one.subject.rfc4514_string() or 'a certificate'!r} {why}")
    return bundle_of([pem], lists_in(pem))


def _faults(one: x509.Certificate) -> Iterator[str]:
    try:
        constraints = one.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca:
            yield "is not a certificate authority (basicConstraints CA:FALSE)"
        require_supported(one.public_key())
    except x509.ExtensionNotFound:
        yield "is not a certificate authority (no basicConstraints)"
    except (Malformed, UnsupportedAlgorithm, ValueError) as error:
        yield f"cannot be used: {error}"
