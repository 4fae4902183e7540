"""The API server's own keys, and the kubeconfig that lets its owner in.

    pki/api-ca.pem       authority of this API server only (10 years); has nothing to do with the
                         authority of workload certificates
    pki/api-server.pem   serving certificate, new at every start and when the clock demands it
                         (`renewal`); its key is encrypted with a password that only the process
                         knows
    pki/api-tokens.key   signs service account tokens
    kubeconfig           server address, authority, client certificate of the owner; 0600

The authority is kept, so a kubeconfig that somebody copied keeps working over restarts.  The key of
the kubeconfig stays in clear, because every Kubernetes client has to read it.
"""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from mutua.cluster.apiserver.auth import MASTERS
from mutua.cluster.apiserver.tokens import KEY_BYTES
from mutua.foundation.clock import Clock
from mutua.identity.keyfile import (
    Damaged,
    read_credential,
    read_key,
    replace_file,
    write_credential,
    write_key,
)
from mutua.identity.sealing import Sealer
from mutua.identity.x509 import Credential, client_certificate, self_signed_ca, server_certificate

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
"""Source: kubeadm's CA certificates."""

CERTIFICATE_LIFETIME: Final = timedelta(days=365)
"""Source: kubeadm's serving and client certificates; ours are renewed at every start, and when it
is time for it (`renewal`)."""

SERVER_NAMES: Final = ("127.0.0.1", "::1", "localhost", "kubernetes.default.svc")
"""What clients may call the server."""

ADMIN: Final = "kubernetes-admin"
"""User name of the mesh's owner.  Source: kubeadm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCredentials:
    """What the API server proves itself with, and whom it believes.

    Attributes:
        server_file: Key and certificate chain for TLS, in one file.
        server_password: Decrypts the key in it.
        authority_pem: Who signs servers and clients.
        admin: The owner's certificate and key.
        token_key: For `TokenIssuer`.
    """

    server_file: Path
    server_password: str = field(repr=False)
    authority_pem: str
    admin: Credential
    token_key: bytes = field(repr=False)


def prepare_credentials(
    directory: Path, clock: Clock, sealer: Sealer | None = None
) -> ApiCredentials:
    """Load what lasts and make what is new at every start.

    Args:
        directory: Made with mode 0700 when missing.
        clock: For validity.
        sealer: For the files that last.

    Raises:
        Damaged: A file cannot be used; nothing is replaced silently.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority = _authority(directory / "api-ca.pem", clock, sealer)
    server = server_certificate(
        authority, names=SERVER_NAMES, lifetime=CERTIFICATE_LIFETIME, clock=clock
    )
    server_file = directory / "api-server.pem"
    password = secrets.token_urlsafe(KEY_BYTES)
    replace_file(server_file, (server.key.encrypted_pem(password) + server.chain_pem).encode())
    admin = client_certificate(
        authority, user=ADMIN, groups=[MASTERS], lifetime=CERTIFICATE_LIFETIME, clock=clock
    )
    return ApiCredentials(
        server_file=server_file,
        server_password=password,
        authority_pem=authority.chain_pem,
        admin=admin,
        token_key=_token_key(directory / "api-tokens.key", sealer),
    )


def write_kubeconfig(path: Path, *, name: str, port: int, credentials: ApiCredentials) -> None:
    """Write what kubectl needs, mode 0600, whole or not at all.

    Args:
        path: The file; its directory exists.
        name: The mesh's name; names cluster, user and context.
        port: Where the API server listens on 127.0.0.1.
        credentials: Who it is and who the owner is.
    """
    admin = credentials.admin
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": _base64(credentials.authority_pem),
    }
    user = {
        "client-certificate-data": _base64(admin.chain_pem),
        "client-key-data": _base64(admin.key.pem()),
    }
    title = f"mutua-{name}"
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": title, "cluster": cluster}],
        "users": [{"name": title, "user": user}],
        "contexts": [{"name": title, "context": {"cluster": title, "user": title}}],
        "current-context": title,
    }
    replace_file(path, yaml.safe_dump(document, sort_keys=False).encode())


def _authority(path: Path, clock: Clock, sealer: Sealer | None) -> Credential:
    if not path.exists():
        ca = self_signed_ca("mutua-api", lifetime=AUTHORITY_LIFETIME, clock=clock)
        write_credential(
            path, ca, sealer=sealer
        )  # another process may be faster: use what is there
    return read_credential(path, sealer=sealer)


def _token_key(path: Path, sealer: Sealer | None) -> bytes:
    if not path.exists():
        write_key(path, secrets.token_bytes(KEY_BYTES), sealer=sealer)
    key = read_key(path, sealer=sealer)
    if len(key) != KEY_BYTES:
        raise Damaged(f"{path}: not a key of {KEY_BYTES} bytes", hint="restore it, or delete it")
    return key


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
