"""Ask Istio's CSR service for a certificate, from inside a pod, with nothing but grpc and openssl.

    ask_for_a_certificate.py TOKEN-FILE|FOLDER|- SPIFFE-ID [FOLDER]

Proof of who asks is a token, or what an earlier call left in a folder: key.pem and chain.pem.
Written without mutua, as a second reading of Istio's interface.
"""

import json
import subprocess
import sys
from pathlib import Path

import grpc

ADDRESS = "10.244.0.1:15012"
NAME = "istiod.istio-system.svc"


def field(number: int, text: bytes) -> bytes:
    """Encode one protobuf field of type string."""
    head, size = bytes([number << 3 | 2]), len(text)
    length = b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return head + length + bytes([size]) + text


def strings(data: bytes) -> list[str]:
    """Decode a message that consists of strings."""
    found, at = [], 0
    while at < len(data):
        at, size, shift = at + 1, 0, 0
        while True:
            byte, at = data[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        found.append(data[at : at + size].decode())
        at += size
    return found


def request(identity: str, key: str) -> bytes:
    """Make a key and a signing request."""
    argv = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    argv += ["-nodes", "-keyout", key, "-subj", "/O=x"]
    argv += ["-addext", f"subjectAltName=URI:{identity}"]
    return subprocess.run(argv, check=True, capture_output=True).stdout


def proof(source: str) -> tuple[list[tuple[str, str]], list[bytes]]:
    """Return metadata, and a key with its chain."""
    if Path(source).is_dir():
        return [], [Path(source, name).read_bytes() for name in ("key.pem", "chain.pem")]
    token = (sys.stdin.read() if source == "-" else Path(source).read_text()).strip()
    return [("authorization", f"Bearer {token}")], []


def main(source: str, identity: str, folder: str = "") -> None:
    """Ask, print the answer as JSON, and keep key and chain if a folder is given."""
    metadata, shown = proof(source)
    credentials = grpc.ssl_channel_credentials(Path("/roots/root-cert.pem").read_bytes(), *shown)
    if folder:
        Path(folder).mkdir(exist_ok=True)
    options = [("grpc.ssl_target_name_override", NAME)]
    with grpc.secure_channel(ADDRESS, credentials, options) as channel:
        call = channel.unary_unary("/istio.v1.auth.IstioCertificateService/CreateCertificate")
        try:
            answer = call(
                field(1, request(identity, f"{folder}/key.pem" if folder else "/dev/null")),
                metadata=[*metadata, ("clusterid", "Kubernetes")],
                timeout=20,
            )
            if folder:
                Path(folder, "chain.pem").write_text("".join(strings(answer)[:-1]))
            print(json.dumps({"chain": strings(answer)}))
        except grpc.RpcError as error:
            print(json.dumps({"status": error.code().name, "details": error.details()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
