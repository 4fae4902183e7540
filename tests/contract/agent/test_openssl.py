"""The files in /etc/certs, as the openssl command reads them."""

import asyncio
import shutil
import subprocess
from typing import Any

import pytest


@pytest.fixture
def openssl() -> Any:
    program = shutil.which("openssl")
    if program is None:
        pytest.fail("no openssl command on this machine")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    return run


async def test_the_files_verify_and_the_key_belongs_to_the_certificate(
    mesh: Any, openssl: Any
) -> None:
    await mesh.add("web")
    certs = mesh.certs("web")
    chain, key, root = (str(certs / f"{n}.pem") for n in ("cert-chain", "key", "root-cert"))

    verified = openssl("verify", "-x509_strict", "-CAfile", root, chain)
    public = [
        openssl("x509", "-in", chain, "-noout", "-pubkey"),
        openssl("pkey", "-in", key, "-pubout"),
    ]
    named = openssl("x509", "-in", chain, "-noout", "-ext", "subjectAltName")

    assert verified == f"{chain}: OK\n"
    assert public[0] == public[1]
    assert "URI:spiffe://cluster.local/ns/shop/sa/web" in named


async def test_s_client_completes_a_mutual_handshake_with_envoy(
    mesh: Any, kit: Any, openssl: Any
) -> None:
    await mesh.add("job")
    certs = mesh.certs("job")
    async with (
        mesh.serving("web") as socket,
        kit.running(kit.binary, socket.parent, kit.server(socket)) as server,
    ):
        said = await asyncio.to_thread(
            openssl,
            *("s_client", "-connect", f"127.0.0.1:{server.port}", "-verify_return_error"),
            *("-cert", str(certs / "cert-chain.pem"), "-key", str(certs / "key.pem")),
            *("-CAfile", str(certs / "root-cert.pem"), "-showcerts", "-brief"),
        )

    assert "Protocol version: TLSv1.3" in said
    assert "Verification: OK" in said
