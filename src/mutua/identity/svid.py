"""Whom does a workload's certificate name, and until when?  Read, not verified.

Sources: SPIFFE X509-SVID sections 2, 4.1 and 5.
"""

from dataclasses import dataclass

from cryptography import x509

from mutua.foundation.spiffe import SpiffeId, parse_spiffe_id
from mutua.identity.keys import Malformed
from mutua.identity.renewal import Validity


@dataclass(frozen=True, slots=True, kw_only=True)
class Svid:
    """A workload's certificate.

    Attributes:
        identity: Whom it names.
        validity: When it may be used.
        serial_number: Hexadecimal.
    """

    identity: SpiffeId
    validity: Validity
    serial_number: str


def read_svid(der: bytes) -> Svid:
    """Read a workload's certificate.

    Args:
        der: The certificate, as `ssl.SSLObject.getpeercert(binary_form=True)` returns it.  The
            TLS stack has verified it; this function verifies nothing.

    Raises:
        Malformed: Not a certificate, an authority's, or it names no or more than one identity.
        Rejected: Its one name is not a workload's.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension) as error:
        raise Malformed(f"not a certificate: {error}") from error
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound as error:
        raise Malformed("not a workload's certificate: it lacks names or constraints") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if is_authority or len(uris) != 1:
        raise Malformed(f"not a workload's certificate: it is an authority or has {len(uris)} URIs")
    return Svid(
        identity=parse_spiffe_id(uris[0]),
        validity=Validity(
            not_before=certificate.not_valid_before_utc, not_after=certificate.not_valid_after_utc
        ),
        serial_number=f"{certificate.serial_number:x}",
    )
