"""Istio's CSR service over real TLS and real gRPC: who gets a certificate, and who must not.

Every attack is made with everything an attacker could hold but the one thing that is missing.
"""

import asyncio
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutua.api.object import PODS, SERVICE_ACCOUNTS, Object
from mutua.api.revocation import Revocation
from mutua.cluster.adapters import CertificateReviews, TokenReviews
from mutua.cluster.apiserver.token_review import TokenReviewer
from mutua.cluster.apiserver.tokens import Account, TokenIssuer
from mutua.cluster.revocation.register import Register
from mutua.controlplane.certificates.caller import Authenticators
from mutua.controlplane.certificates.messages import (
    METHOD,
    SERVICE,
    CertificateRequest,
    decode_response,
    encode_request,
)
from mutua.controlplane.certificates.rate import RateLimit
from mutua.controlplane.certificates.server import CertificateServer
from mutua.controlplane.certificates.service import CertificateService
from mutua.controlplane.certificates.serving import ServingCertificate
from mutua.controlplane.certificates.tls import SERVER_NAMES
from mutua.foundation.clock import SystemClock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority, IssuedChain
from mutua.identity.bundle import TrustBundle
from mutua.identity.csr import SigningRequest, new_request
from mutua.identity.issuance_log import IssuanceLog
from mutua.identity.keys import KeyAlgorithm
from mutua.identity.material import self_signed
from mutua.identity.x509 import Credential, client_certificate, self_signed_ca
from mutua.store.memory import MemoryStore
from mutua.store.mirror import Mirror
from mutua.store.port import AlreadyExists
from mutua.telemetry.metrics import Metrics
from mutua.testing.clock import ManualClock
from mutua.testing.running_mesh import eventually

WEB = SpiffeId("cluster.local", "shop", "web")
OTHER = SpiffeId("cluster.local", "bank", "vault")
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
INVALID = grpc.StatusCode.INVALID_ARGUMENT
PATIENCE = 30.0
DAY = timedelta(days=1)


class SteppedClock(SystemClock):
    """The real wall clock plus a step."""

    step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


@dataclass
class Service:
    """A running service, the cluster behind it, and a client's means."""

    loop: asyncio.AbstractEventLoop
    port: int
    ca: Credential
    authority: Authority
    store: MemoryStore
    tokens: TokenIssuer
    service: CertificateService
    log: IssuanceLog
    register: Register
    metrics: Metrics
    reviewing: SteppedClock

    def counted(self) -> dict[str, int]:
        """Return the counters of requests that are not zero, as a scrape finds them."""
        found = re.findall(
            r"^citadel_server_(\S+) (\S+)$", self.metrics.text().decode(), re.MULTILINE
        )
        return {name: int(float(value)) for name, value in found if float(value)}

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def account(self, namespace: str, name: str) -> Object:
        document = {"metadata": {"namespace": namespace, "name": name}}
        return self.run(self.store.create(SERVICE_ACCOUNTS, document))

    def pod(self, namespace: str, name: str, account: str) -> Object:
        document = {
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"serviceAccountName": account},
        }
        return self.run(self.store.create(PODS, document))

    def token(self, account: Object, pod: Object | None = None, audience: str = "istio-ca") -> str:
        metadata = account["metadata"]
        bound = {"pod": pod["metadata"]["name"], "pod_uid": pod["metadata"]["uid"]} if pod else {}
        who = Account(
            namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"], **bound
        )
        return self.tokens.issue(who, audiences=(audience,)).text

    def ask(
        self,
        csr_pem: str,
        *,
        token: str = "",
        shown: tuple[SigningRequest, IssuedChain] | None = None,
        seconds: int = 0,
        metadata: dict[str, Any] | None = None,
        cluster: str = "",
        server: str = SERVER_NAMES[0],
        data: bytes | None = None,
    ) -> tuple[str, ...]:
        """Ask as an agent does; `shown` is the key and chain of a client certificate."""
        roots = self.authority.roots_pem.encode()
        key = shown[0].key.pem().encode() if shown else None
        chain = (shown[1].leaf + "".join(shown[1].intermediates)).encode() if shown else None
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        options = [("grpc.ssl_target_name_override", server), ("grpc.enable_retries", 0)]
        sent = [("authorization", f"Bearer {token}")] if token else []
        sent += [("clusterid", cluster)] if cluster else []
        request = CertificateRequest(csr_pem=csr_pem, seconds=seconds, metadata=metadata or {})
        body = encode_request(request) if data is None else data
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            call = channel.unary_unary(f"/{SERVICE}/{METHOD}")
            return decode_response(call(body, metadata=sent, timeout=PATIENCE))

    def refused(self, csr_pem: str = "", **how: Any) -> tuple[grpc.StatusCode, str]:
        """Ask and return the refusal; a certificate instead fails the test."""
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(csr_pem or new_request(WEB).csr_pem, **how)
        return caught.value.code(), caught.value.details()


async def serve(folder: Path, started: list[Service], is_up: threading.Event) -> None:
    clock, reviewing = SystemClock(), SteppedClock()
    ca = self_signed_ca("", organization="cluster.local", lifetime=10 * DAY, clock=clock)
    log = IssuanceLog(folder / "issuance", clock)
    authority = Authority(ca, "cluster.local", clock, journal=log)
    store, register = MemoryStore(clock), Register()
    register.revise([])
    pods = Mirror(store, PODS)
    metrics = Metrics(version="1", started_at=0, now=lambda: 0)
    tokens = TokenIssuer(b"k" * 32, clock)
    service = CertificateService(
        authority,
        Authenticators(
            TokenReviews(TokenReviewer(store, tokens, clock)),
            CertificateReviews(store, clock, issued=log.unexpired, pods=pods.list),
            trust_domain=lambda: authority.trust_domain,
            clock=reviewing,
            clusters=("Kubernetes",),
        ),
        monotonic=time.monotonic,
        limit=RateLimit(rate=1000, burst=100_000),
        refusal=lambda caller: register.refusal(
            caller.identity, caller.pod_uid, int(caller.serial_number or "0", 16)
        ),
        count=metrics.count,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0)
    port = listener.getsockname()[1]
    loop = asyncio.get_running_loop()
    started.append(
        Service(
            loop, port, ca, authority, store, tokens, service, log, register, metrics, reviewing
        )
    )
    server = CertificateServer(service, ServingCertificate(authority, clock), folder / "ca.sock")
    with listener:
        async with asyncio.TaskGroup() as group:
            group.create_task(pods.run())
            await pods.wait_synced()
            await server.serve(listener, is_up.set)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    started: list[Service] = []
    is_up = threading.Event()
    stopped: list[BaseException] = []

    def main() -> None:
        async def supervised() -> None:
            started.append(asyncio.current_task())  # type: ignore[arg-type]
            await serve(tmp_path, started, is_up)

        try:
            asyncio.run(supervised())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            stopped.append(error)
            raise

    thread = threading.Thread(target=main)
    thread.start()
    assert is_up.wait(PATIENCE), stopped
    task, running = started
    yield running
    running.loop.call_soon_threadsafe(task.cancel)  # type: ignore[attr-defined]
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture
def web(service: Service) -> str:
    """A token of the pod web-1."""
    account = service.account("shop", "web")
    return service.token(account, service.pod("shop", "web-1", "web"))


def certified(service: Service, identity: SpiffeId = WEB, **with_: Any) -> Any:
    """Return a key and a chain of the mesh's own CA."""
    request = new_request(identity)
    with suppress(AlreadyExists):
        service.account(*identity.account)
    authority = Authority(
        with_.get("ca", service.ca), identity.trust_domain, with_.get("clock", SystemClock())
    )
    return request, authority.sign(request.csr_pem, identity, with_.get("ttl", timedelta()))


def leaf_of(chain: tuple[str, ...]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(chain[0].encode())


def names_of(leaf: x509.Certificate) -> list[str]:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


# Who gets one.


def test_a_token_buys_a_certificate_and_the_bundle(service: Service, web: str) -> None:
    request = new_request(WEB)

    chain = service.ask(request.csr_pem, token=web, seconds=3600, cluster="Kubernetes")

    leaf = leaf_of(chain)
    assert names_of(leaf) == [str(WEB)]
    assert leaf.public_key() == request.key.public
    assert chain[-1] == service.authority.roots_pem
    assert len(chain) == 2
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=62)


def test_a_valid_certificate_renews_itself(service: Service) -> None:
    chain = service.ask(new_request(WEB).csr_pem, shown=certified(service))

    assert names_of(leaf_of(chain)) == [str(WEB)]


def test_the_certificate_goes_before_the_token(service: Service, web: str) -> None:
    shown = certified(service, OTHER)

    assert names_of(leaf_of(service.ask(new_request(WEB).csr_pem, shown=shown, token=web))) == [
        str(OTHER)
    ]


@pytest.mark.parametrize("name", SERVER_NAMES)
def test_the_server_answers_to_every_name_of_istiod(service: Service, web: str, name: str) -> None:
    assert service.ask(new_request(WEB).csr_pem, token=web, server=name)


@pytest.mark.parametrize("algorithm", [*KeyAlgorithm])
def test_keys_that_are_certified(service: Service, web: str, algorithm: KeyAlgorithm) -> None:
    request = new_request(WEB, algorithm)

    assert leaf_of(service.ask(request.csr_pem, token=web)).public_key() == request.key.public


# Identity is the caller's.


def test_a_request_for_another_identity_gets_the_callers(service: Service, web: str) -> None:
    chain = service.ask(new_request(OTHER).csr_pem, token=web)

    assert names_of(leaf_of(chain)) == [str(WEB)]


def test_asked_for_an_authority_it_makes_a_leaf(service: Service, web: str) -> None:
    usage = x509.KeyUsage(
        **{
            name: name in {"key_cert_sign", "crl_sign"}
            for name in (
                *(
                    "digital_signature",
                    "content_commitment",
                    "key_encipherment",
                    "data_encipherment",
                ),
                *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
            )
        }
    )
    wish = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=9), critical=True)
        .add_extension(usage, critical=True)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )

    leaf = leaf_of(service.ask(pem(wish), token=web))

    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    granted = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not granted.key_cert_sign
    assert not granted.crl_sign
    assert not leaf.subject.rdns


def test_impersonation_is_refused(service: Service, web: str) -> None:
    status, text = service.refused(token=web, metadata={"ImpersonatedIdentity": str(OTHER)})

    assert (status, text) == (UNAUTHENTICATED, "request impersonation authentication failure")


def test_another_signer_is_refused(service: Service, web: str) -> None:
    status, text = service.refused(token=web, metadata={"CertSigner": "example.com/other"})

    assert status == INVALID
    assert "metadata.CertSigner" in text


# Tokens that buy nothing.


def test_nothing_shown(service: Service) -> None:
    assert service.refused() == (UNAUTHENTICATED, "request authenticate failure")


def test_a_stolen_token_dies_with_its_pod(service: Service) -> None:
    account = service.account("shop", "web")
    pod = service.pod("shop", "web-1", "web")
    stolen = service.token(account, pod)
    assert service.ask(new_request(WEB).csr_pem, token=stolen)

    service.run(service.store.delete(PODS, "shop", "web-1"))
    assert service.refused(token=stolen)[0] is UNAUTHENTICATED

    service.pod("shop", "web-1", "web")  # of the same name, but another
    assert service.refused(token=stolen)[0] is UNAUTHENTICATED


def test_a_token_dies_with_its_account(service: Service) -> None:
    token = service.token(service.account("shop", "web"))

    service.run(service.store.delete(SERVICE_ACCOUNTS, "shop", "web"))
    assert service.refused(token=token)[0] is UNAUTHENTICATED

    service.account("shop", "web")
    assert service.refused(token=token)[0] is UNAUTHENTICATED


def test_an_expired_token(service: Service) -> None:
    account = service.account("shop", "web")
    past = TokenIssuer(b"k" * 32, ManualClock(SystemClock().now() - timedelta(hours=2)))
    meta = account["metadata"]
    expired = past.issue(
        Account(namespace="shop", name="web", uid=meta["uid"]), audiences=("istio-ca",)
    )

    assert service.refused(token=expired.text)[0] is UNAUTHENTICATED


def test_a_token_of_another_audience(service: Service) -> None:
    token = service.token(service.account("shop", "web"), audience="vault")

    assert service.refused(token=token)[0] is UNAUTHENTICATED


def test_a_token_signed_by_somebody_else(service: Service) -> None:
    meta = service.account("shop", "web")["metadata"]
    forger = TokenIssuer(b"f" * 32, SystemClock())
    account = Account(namespace="shop", name="web", uid=meta["uid"])

    forged = forger.issue(account, audiences=("istio-ca",)).text
    assert service.refused(token=forged)[0] is UNAUTHENTICATED

    genuine = service.token({"metadata": meta})
    head, body, signature = genuine.split(".")
    assert service.refused(token=f"{head}.{body[:-2]}AA.{signature}")[0] is UNAUTHENTICATED
    assert service.refused(token=f"{head}.{body}.")[0] is UNAUTHENTICATED


def test_a_token_of_an_unknown_cluster(service: Service, web: str) -> None:
    assert service.refused(token=web, cluster="elsewhere")[0] is UNAUTHENTICATED


# Certificates that buy nothing.  Those the TLS stack refuses never reach the service.


def test_an_expired_certificate(service: Service) -> None:
    past = ManualClock(SystemClock().now() - timedelta(hours=3))
    shown = certified(service, clock=past, ttl=timedelta(hours=1))

    assert service.refused(shown=shown)[0] is grpc.StatusCode.UNAVAILABLE
    assert not service.counted()


def test_a_certificate_that_expires_while_its_connection_lives(service: Service) -> None:
    request, chain = certified(service, ttl=timedelta(hours=1))
    roots, key = service.authority.roots_pem.encode(), request.key.pem().encode()
    credentials = grpc.ssl_channel_credentials(roots, key, chain.leaf.encode())
    options = [("grpc.ssl_target_name_override", SERVER_NAMES[0])]
    body = encode_request(CertificateRequest(csr_pem=new_request(WEB).csr_pem))
    with grpc.secure_channel(f"127.0.0.1:{service.port}", credentials, options) as channel:
        call = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        assert call(body, timeout=PATIENCE)
        service.reviewing.step = timedelta(hours=2)  # its connection stays
        assert service.reviewing.now() > chain.validity.not_after
        with pytest.raises(grpc.RpcError) as caught:
            call(body, timeout=PATIENCE)
    assert caught.value.code() is UNAUTHENTICATED


def test_a_certificate_of_another_trust_domain(service: Service) -> None:
    shown = certified(service, SpiffeId("evil.example", "shop", "web"))

    assert service.refused(shown=shown)[0] is UNAUTHENTICATED


def test_a_certificate_of_another_root_with_the_same_name(service: Service) -> None:
    twin = self_signed_ca("", organization="cluster.local", lifetime=DAY, clock=SystemClock())
    assert twin.certificate.subject == service.ca.certificate.subject

    assert service.refused(shown=certified(service, ca=twin))[0] is grpc.StatusCode.UNAVAILABLE
    assert not service.counted()


def test_a_self_signed_spiffe_id(service: Service, tmp_path: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/"),
            *("-addext", f"subjectAltName=critical,URI:{WEB}"),
            *("-addext", "extendedKeyUsage=clientAuth"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(cadata=service.authority.roots_pem)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=SERVER_NAMES[0]) as session,
        suppress(ssl.SSLError, ConnectionError),
    ):
        assert session.recv(1) == b""  # TLS 1.3: a client learns of it when it reads
    assert not service.counted()


def test_a_server_certificate_is_not_a_clients(service: Service) -> None:
    server = service.authority.server_credential(WEB, ["web.shop"], DAY)
    request = SigningRequest(key=server.key, csr_pem="")
    chain = certified(service)[1]
    shown = (request, _replaced(chain, server.chain_pem))

    assert service.refused(shown=shown)[0] is grpc.StatusCode.UNAVAILABLE


def _replaced(chain: IssuedChain, leaf: str) -> IssuedChain:
    from dataclasses import replace

    return replace(chain, leaf=leaf, intermediates=())


def bought(service: Service, token: str) -> Any:
    """Return a key and the chain that the service gave out for a token."""
    request = new_request(WEB)
    chain = service.ask(request.csr_pem, token=token)
    return request, SimpleNamespace(leaf=chain[0], intermediates=chain[1:-1])


def renewed(service: Service, shown: Any) -> Any:
    request = new_request(WEB)
    chain = service.ask(request.csr_pem, shown=shown)
    return request, SimpleNamespace(leaf=chain[0], intermediates=chain[1:-1])


def test_a_certificate_renews_itself_no_longer_than_its_pod_lives(
    service: Service, web: str
) -> None:
    first = bought(service, web)
    second = renewed(service, first)

    service.run(service.store.delete(PODS, "shop", "web-1"))
    for shown in (first, second):
        assert service.refused(shown=shown)[0] is UNAUTHENTICATED

    service.pod("shop", "web-1", "web")  # of the same name, but another
    for shown in (first, second):
        assert service.refused(shown=shown)[0] is UNAUTHENTICATED


def test_a_certificate_renews_itself_no_longer_than_its_account_lives(service: Service) -> None:
    shown = bought(service, service.token(service.account("shop", "web")))
    assert renewed(service, shown)

    service.run(service.store.delete(SERVICE_ACCOUNTS, "shop", "web"))
    assert service.refused(shown=shown)[0] is UNAUTHENTICATED

    time.sleep(1)  # creationTimestamp has whole seconds
    service.account("shop", "web")
    assert service.refused(shown=shown)[0] is UNAUTHENTICATED


def test_a_kicked_pods_certificate_does_not_renew_itself(service: Service, web: str) -> None:
    shown = renewed(service, bought(service, web))
    (pod,) = service.run(service.store.list(PODS)).items
    other = bought(service, service.token(service.account("shop", "other")))
    kick = Revocation(uid="u", name="r", pod=pod["metadata"]["uid"], certificates={})
    service.register.revise([kick])

    for how in ({"shown": shown}, {"token": web}):
        assert service.refused(**how)[0] is grpc.StatusCode.PERMISSION_DENIED
    assert renewed(service, other)
    of_pod = service.log.unexpired_of_pod(kick.pod)
    assert [one.authenticated for one in of_pod] == [
        "service account token",
        "client certificate",
    ]
    again = IssuanceLog(service.log._directory, SystemClock())
    assert again.unexpired_of_pod(kick.pod) == of_pod


def test_a_root_that_was_withdrawn(service: Service) -> None:
    shown = certified(service)
    fresh = self_signed(
        self_signed_ca("", organization="cluster.local", lifetime=DAY, clock=SystemClock())
    )
    both = TrustBundle((*fresh.bundle.roots, service.ca.chain_pem))

    service.loop.call_soon_threadsafe(service.authority.adopt, fresh, both)
    eventually(
        lambda: bundle_of_an_answer(service, shown) == both.roots_pem, "both roots are handed out"
    )
    service.loop.call_soon_threadsafe(service.authority.adopt, fresh, fresh.bundle)

    # The server takes up a new bundle within a second.
    assert eventually(lambda: status_of(service, shown), "the old root is forgotten") is (
        grpc.StatusCode.UNAVAILABLE
    )


def status_of(service: Service, shown: Any) -> grpc.StatusCode | None:
    try:
        service.ask(new_request(WEB).csr_pem, shown=shown)
    except grpc.RpcError as error:
        return error.code()
    return None


def bundle_of_an_answer(service: Service, shown: Any) -> str:
    try:
        return service.ask(new_request(WEB).csr_pem, shown=shown)[-1]
    except grpc.RpcError:
        return ""  # the server's own certificate is about to change too


# Requests that are none.


def pem(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(serialization.Encoding.PEM).decode()


def signed_by(key: Any, hash_: Any = None) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return pem(builder.sign(key, hash_))


@pytest.mark.parametrize(
    ("csr", "why"),
    [
        ("", "not a signing request"),
        ("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n", "not a"),
        ("x" * 16_385, "longer than"),
        (signed_by(ed25519.Ed25519PrivateKey.generate()), "EdDSA, which Envoy cannot"),
        (signed_by(ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()), "secp521r1"),
        (signed_by(ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()), "secp256k1"),
        (signed_by(rsa.generate_private_key(65537, 1024), hashes.SHA256()), "1024 bits"),
    ],
)
def test_requests_that_are_refused(service: Service, web: str, csr: str, why: str) -> None:
    status, text = service.refused(csr or " ", token=web)

    assert status is INVALID
    assert "CSR signing error" in text
    assert why in text


def test_a_request_not_signed_by_its_own_key(service: Service, web: str) -> None:
    der = bytearray(ssl_der(new_request(WEB).csr_pem))
    der[-5] ^= 1

    status, text = service.refused(pem_of(bytes(der)), token=web)

    assert status is INVALID
    assert "its own key" in text


def ssl_der(text: str) -> bytes:
    return x509.load_pem_x509_csr(text.encode()).public_bytes(serialization.Encoding.DER)


def pem_of(der: bytes) -> str:
    import base64

    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def test_a_lifetime_beyond_the_maximum(service: Service, web: str) -> None:
    for seconds in (90 * 86_400 + 1, 2**63 - 1):
        assert service.refused(token=web, seconds=seconds)[0] is INVALID
    assert service.ask(new_request(WEB).csr_pem, token=web, seconds=-(2**63))


def test_an_oversized_message_is_not_read(service: Service, web: str) -> None:
    status, _ = service.refused(token=web, data=b"\x0a" + b"\xff" * 40_000)

    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not service.counted()


FUZZED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZED
@given(data=st.data())
def test_no_damaged_request_is_certified_or_a_bug(service: Service, data: st.DataObject) -> None:
    if "token" not in FUZZ_STATE or FUZZ_STATE["service"] is not service:
        account = service.account("shop", "web")
        FUZZ_STATE.update(token=service.token(account), service=service)
    der = bytearray(ssl_der(FUZZ_REQUEST.csr_pem))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(der) - 1))
        der[place] ^= data.draw(st.integers(1, 255))
    del der[data.draw(st.integers(len(der) // 2, len(der))) :]
    try:
        chain = service.ask(pem_of(bytes(der)), token=FUZZ_STATE["token"])
    except grpc.RpcError as error:
        refused = error.code()
        assert refused is INVALID
    else:  # a flip was undone by another, or met what a signature does not cover
        assert names_of(leaf_of(chain)) == [str(WEB)]
        assert leaf_of(chain).public_key() == FUZZ_REQUEST.key.public


FUZZ_REQUEST = new_request(WEB)
FUZZ_STATE: dict[str, Any] = {}


@FUZZED
@given(body=st.binary(max_size=400))
def test_no_message_is_answered_with_a_bug(service: Service, body: bytes) -> None:
    if FUZZ_STATE.get("service") is not service:
        account = service.account("shop", "web")
        FUZZ_STATE.update(token=service.token(account), service=service)
    status, text = service.refused(token=FUZZ_STATE["token"], data=body)

    assert status in {INVALID, UNAUTHENTICATED}, text


# What is counted.


def test_every_call_is_counted_and_how_it_ended(service: Service, web: str) -> None:
    good = new_request(WEB).csr_pem
    service.ask(good, token=web)
    service.refused(good)
    service.refused(good, token=web, metadata={"ImpersonatedIdentity": str(OTHER)})
    service.refused(good, token=web, metadata={"CertSigner": "example.com/other"})
    service.refused("nonsense", token=web)
    service.refused(token=web, data=b"\xff")
    service.refused(good, token=web, seconds=10**9)
    kick = Revocation(uid="u", name="r", identity=WEB, certificates={})
    service.register.revise([kick])
    service.refused(good, token=web)
    service.register.revise([])
    service.service._limit = RateLimit(rate=0.001, burst=1)
    service.ask(good, token=web)
    service.refused(good, token=web)

    assert service.counted() == {
        "csr_count": 10,
        "success_cert_issuance_count": 2,
        "authentication_failure_count": 2,
        "csr_parsing_err_count": 2,
        'csr_sign_err_count{error="certificates.another_signer"}': 1,
        'csr_sign_err_count{error="certificates.rate_limited"}': 1,
        'csr_sign_err_count{error="policy.denied"}': 1,
        'csr_sign_err_count{error="input.rejected"}': 1,
    }


def test_a_good_proof_of_nobodys_identity_is_counted_as_such(service: Service) -> None:
    person = client_certificate(
        service.ca, user="jane", groups=["people"], lifetime=DAY, clock=SystemClock()
    )
    leaf = person.chain_pem.split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    shown = (SigningRequest(key=person.key, csr_pem=""), _alone(leaf))

    assert service.refused(shown=shown)[0] is UNAUTHENTICATED
    assert service.counted() == {
        "csr_count": 1,
        "authentication_failure_count": 1,
        "id_extraction_err_count": 1,
    }


def _alone(leaf: str) -> Any:
    return SimpleNamespace(leaf=leaf, intermediates=())


# Who asks too much.


def test_one_caller_does_not_starve_the_others(service: Service, web: str) -> None:
    service.service._limit = RateLimit(rate=0.001, burst=2)
    request = new_request(WEB).csr_pem
    other = service.token(service.account("bank", "vault"))
    assert service.ask(request, token=web)
    assert service.ask(request, token=web)

    status, text = service.refused(request, token=web)

    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(WEB) in text
    assert service.ask(request, token=other)


def test_connections_of_one_address_are_bounded(service: Service) -> None:
    from mutua.controlplane.certificates.front import CONNECTIONS_OF_ONE

    held = [
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
        for _ in range(CONNECTIONS_OF_ONE)
    ]
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as refused:
            assert refused.recv(1) == b""
    finally:
        for one in held:
            one.close()


def test_without_h2_there_is_no_conversation(service: Service) -> None:
    context = ssl.create_default_context(cadata=service.authority.roots_pem)
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=SERVER_NAMES[0]) as session,
    ):
        session.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            assert session.recv(1) == b""
        except (ConnectionError, ssl.SSLError):
            return
