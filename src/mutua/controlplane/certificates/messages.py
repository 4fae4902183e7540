"""Istio's two messages: a signing request and its answer, as bytes and as values.

They are two messages of five fields, so they are described here rather than generated:

    IstioCertificateRequest   csr = 1 (string), validity_duration = 3 (int64, seconds),
                              metadata = 4 (google.protobuf.Struct)
    IstioCertificateResponse  cert_chain = 1 (repeated string)

The pool is private, because another library of the process may have registered Istio's own file.

Source: istio.io/api security/v1alpha1/ca.proto.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from mutua.foundation.errors import Rejected

PACKAGE: Final = "istio.v1.auth"
SERVICE: Final = f"{PACKAGE}.IstioCertificateService"
METHOD: Final = "CreateCertificate"

Field = descriptor_pb2.FieldDescriptorProto


class NotARequest(Rejected):
    """The bytes are not an IstioCertificateRequest."""

    code = "certificates.not_a_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """What a workload asks for.

    Attributes:
        csr_pem: The signing request.
        seconds: Wanted lifetime; zero or less means the default.
        metadata: Further wishes, as JSON values.
    """

    csr_pem: str
    seconds: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


def decode_request(data: bytes) -> CertificateRequest:
    """Read a request.

    Raises:
        NotARequest: The bytes are not one.
    """
    try:
        message = _message("IstioCertificateRequest").FromString(data)
        # A Struct may nest deeply; protobuf's own limit ends that with a DecodeError.
        metadata = MessageToDict(message.metadata) if message.HasField("metadata") else {}
    except (DecodeError, ValueError, RecursionError) as error:
        raise NotARequest("not an IstioCertificateRequest") from error
    return CertificateRequest(
        csr_pem=message.csr, seconds=message.validity_duration, metadata=metadata
    )


def encode_request(request: CertificateRequest) -> bytes:
    """Write a request: the side of a client."""
    message = _message("IstioCertificateRequest")(
        csr=request.csr_pem, validity_duration=request.seconds
    )
    if request.metadata:
        message.metadata.update(request.metadata)
    return bytes(message.SerializeToString())


def encode_response(cert_chain: Sequence[str]) -> bytes:
    """Write an answer.

    Args:
        cert_chain: Leaf, intermediates towards the root, and last the trust bundle; PEM.
    """
    message = _message("IstioCertificateResponse")(cert_chain=cert_chain)
    return bytes(message.SerializeToString())


def decode_response(data: bytes) -> tuple[str, ...]:
    """Read an answer's certificate chain: the side of a client."""
    return tuple(_message("IstioCertificateResponse").FromString(data).cert_chain)


@cache
def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="security/v1alpha1/ca.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[struct_pb2.DESCRIPTOR.name],
    )
    request = file.message_type.add(name="IstioCertificateRequest")
    request.field.add(name="csr", number=1, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL)
    request.field.add(
        name="validity_duration", number=3, type=Field.TYPE_INT64, label=Field.LABEL_OPTIONAL
    )
    request.field.add(
        name="metadata",
        number=4,
        type=Field.TYPE_MESSAGE,
        type_name=".google.protobuf.Struct",
        label=Field.LABEL_OPTIONAL,
    )
    response = file.message_type.add(name="IstioCertificateResponse")
    response.field.add(
        name="cert_chain", number=1, type=Field.TYPE_STRING, label=Field.LABEL_REPEATED
    )
    pool.AddSerializedFile(file.SerializeToString())
    return pool
