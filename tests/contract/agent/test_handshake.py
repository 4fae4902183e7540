"""The coherence check meets a real Envoy: BoringSSL's alerts are refusals, not broken lines."""

from typing import Any

import pytest

from mutua.controlplane.coherence import handshake
from mutua.controlplane.coherence.handshake import Refused, client_context, handshake_with
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.csr import new_request
from mutua.identity.x509 import Credential

PATIENCE = 20.0
"""Seconds that an Envoy may take on a busy machine."""


def canary(mesh: Any) -> Credential:
    identity = SpiffeId("cluster.local", "istio-system", "istiod")
    request = new_request(identity)
    issued = mesh.authority.sign(request.csr_pem, identity)
    return Credential(chain_pem=issued.leaf + "".join(issued.intermediates), key=request.key)


async def test_envoy_accepts_its_own_mesh_and_refuses_another_with_an_alert(
    mesh: Any, kit: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "TIMEOUT", PATIENCE)
    stranger = type(mesh)(tmp_path)  # same names, another root
    ours = mesh.authority.bundle
    async with (
        mesh.serving("web") as socket,
        kit.running(kit.binary, socket.parent, kit.server(socket)) as server,
    ):
        seen = await handshake_with("127.0.0.1", server.port, client_context(canary(mesh), ours))
        # Silence means acceptance; here an alert must come.
        monkeypatch.setattr(handshake, "REFUSAL", PATIENCE)
        context = client_context(canary(stranger), ours)
        with pytest.raises(Refused, match="does not accept this mesh's certificates"):
            await handshake_with("127.0.0.1", server.port, context)
        context = client_context(canary(mesh), stranger.authority.bundle)
        with pytest.raises(Refused, match="its certificate is not acceptable"):
            await handshake_with("127.0.0.1", server.port, context)

    assert seen.uris == ("spiffe://cluster.local/ns/shop/sa/web",)
