"""Every rule has a certificate that breaks it, made by hand and not by the authority."""

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.keys import new_key
from mutua.identity.validator import (
    AuthorityExpectation,
    Expectation,
    InvalidCertificate,
    InvalidSvid,
    ServerExpectation,
    require_valid_authority,
    require_valid_server,
    require_valid_svid,
)
from mutua.identity.x509 import (
    Credential,
    certificate_pem,
    intermediate_ca,
    self_signed_ca,
    server_certificate,
    subject_name,
)
from mutua.testing.clock import START, ManualClock

WEB = SpiffeId("cluster.local", "shop", "web")
URI = x509.UniformResourceIdentifier(str(WEB))
ELSE = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")
ROOT = self_signed_ca(
    "", organization="cluster.local", lifetime=timedelta(days=9), clock=ManualClock()
)
STRANGER = self_signed_ca(
    "", organization="cluster.local", lifetime=timedelta(days=9), clock=ManualClock()
)
KEY = new_key()
NO_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)
EXPECTED = Expectation(
    identity=WEB,
    public_key=KEY.public,
    signer=ROOT.certificate,
    now=START,
    ttl=timedelta(hours=24),
)

Extensions = dict[str, tuple[x509.ExtensionType, bool]]


def usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**NO_USAGE, **dict.fromkeys(names, True)})


def san(*names: x509.GeneralName) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName(names), True


def authority(path_length: int | None) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(ca=True, path_length=path_length), True


def purposes(*oids: x509.ObjectIdentifier) -> tuple[x509.ExtensionType, bool]:
    return x509.ExtendedKeyUsage(oids), False


def good(signer: Credential = ROOT) -> Extensions:
    ski = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return {
        "san": san(URI),
        "constraints": (x509.BasicConstraints(ca=False, path_length=None), True),
        "usage": (usage("digital_signature", "key_encipherment"), True),
        "purposes": purposes(Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH),
        "ski": (x509.SubjectKeyIdentifier.from_public_key(KEY.public), False),
        "aki": (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), False),
    }


def leaf(
    *,
    starts: timedelta = -timedelta(minutes=2),
    ends: timedelta = timedelta(hours=24),
    subject: str = "",
    signer: Credential = ROOT,
    without: str = "",
    serial: int = 12345,
    **changed: tuple[x509.ExtensionType, bool],
) -> str:
    names = [x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else []
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(signer.certificate.subject)
        .public_key(KEY.public)
        .serial_number(serial)
        .not_valid_before(START + starts)
        .not_valid_after(START + ends)
    )
    for name, (extension, critical) in {**good(), **changed}.items():
        if name != without:
            builder = builder.add_extension(extension, critical=critical)
    return certificate_pem(builder.sign(signer.key.signer, hashes.SHA256()))


def test_a_leaf_by_the_book_passes() -> None:
    pem = leaf()

    assert certificate_pem(require_valid_svid(pem, EXPECTED)) == pem


BROKEN = [
    pytest.param(lambda: leaf(san=san(URI, URI)), "2 URI names", id="the same URI twice"),
    pytest.param(lambda: leaf(san=san(URI, ELSE)), "2 URI names", id="two identities"),
    pytest.param(lambda: leaf(san=san(ELSE)), "not the caller's", id="somebody else's identity"),
    pytest.param(
        lambda: leaf(san=san(x509.DNSName("shop.example"))), "0 URI names", id="a DNS name only"
    ),
    pytest.param(
        lambda: leaf(san=san(URI, x509.DNSName("shop.example"))), "other types", id="a DNS name too"
    ),
    pytest.param(
        lambda: leaf(san=san(URI, x509.IPAddress(ipaddress.ip_address("10.0.0.1")))),
        "other types",
        id="an address too",
    ),
    pytest.param(
        lambda: leaf(san=(san(URI)[0], False)), "criticality", id="a name that may be ignored"
    ),
    pytest.param(lambda: leaf(without="san"), "2.5.29.17", id="no name"),
    pytest.param(lambda: leaf(constraints=authority(None)), "is an authority", id="CA true"),
    pytest.param(
        lambda: leaf(constraints=authority(0)), "is an authority", id="CA true with path length 0"
    ),
    pytest.param(lambda: leaf(without="constraints"), "2.5.29.19", id="no basic constraints"),
    pytest.param(
        lambda: leaf(usage=(usage("digital_signature", "key_cert_sign"), True)),
        "wrong key usage",
        id="may sign certificates",
    ),
    pytest.param(
        lambda: leaf(usage=(usage("digital_signature", "key_encipherment", "crl_sign"), True)),
        "wrong key usage",
        id="may sign CRLs",
    ),
    pytest.param(
        lambda: leaf(usage=(usage("key_encipherment"), True)),
        "wrong key usage",
        id="no digital signature",
    ),
    pytest.param(
        lambda: leaf(usage=(usage("digital_signature", "key_encipherment"), False)),
        "criticality",
        id="key usage that may be ignored",
    ),
    pytest.param(lambda: leaf(without="usage"), "2.5.29.15", id="no key usage"),
    pytest.param(
        lambda: leaf(purposes=purposes(Purpose.SERVER_AUTH)), "extended key usage", id="server only"
    ),
    pytest.param(
        lambda: leaf(
            purposes=purposes(Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH, Purpose.CODE_SIGNING)
        ),
        "extended key usage",
        id="code signing too",
    ),
    pytest.param(
        lambda: leaf(
            nc=(
                x509.NameConstraints(
                    permitted_subtrees=[x509.DNSName("a")], excluded_subtrees=None
                ),
                True,
            )
        ),
        "unexpected extensions",
        id="an extension nobody asked for",
    ),
    pytest.param(
        lambda: leaf(ends=timedelta(days=10)), "beyond the signer", id="outlives the signer"
    ),
    pytest.param(
        lambda: leaf(ends=timedelta(hours=25)), "longer than allowed", id="lives longer than asked"
    ),
    pytest.param(
        lambda: leaf(starts=-timedelta(minutes=3)),
        "too early",
        id="starts before the permitted skew",
    ),
    pytest.param(
        lambda: leaf(starts=timedelta(minutes=1)),
        "not valid at the instant",
        id="starts in the future",
    ),
    pytest.param(
        lambda: leaf(ends=timedelta(seconds=-1)), "not valid at the instant", id="ended in the past"
    ),
    pytest.param(lambda: leaf(subject="root"), "subject is not empty", id="a subject"),
    pytest.param(
        lambda: leaf(signer=STRANGER),
        "not signed by the signer",
        id="a stranger's signature with the right names",
    ),
    pytest.param(
        lambda: leaf(aki=good(STRANGER)["aki"]),
        "authority key identifier",
        id="points at another authority",
    ),
    pytest.param(lambda: leaf() + leaf(), "2 certificates", id="two certificates"),
    pytest.param(lambda: "", "unreadable", id="nothing"),
    pytest.param(lambda: leaf()[:-60], "unreadable", id="a torn one"),
]


@pytest.mark.parametrize(("make", "complaint"), BROKEN)
def test_a_leaf_that_breaks_a_rule_is_refused(make: Callable[[], str], complaint: str) -> None:
    with pytest.raises(InvalidSvid, match=complaint):
        require_valid_svid(make(), EXPECTED)


def test_a_leaf_for_another_key_than_the_requests_is_refused() -> None:
    expected = Expectation(
        identity=WEB,
        public_key=new_key().public,
        signer=ROOT.certificate,
        now=START,
        ttl=timedelta(hours=24),
    )

    with pytest.raises(InvalidSvid, match="not the request's"):
        require_valid_svid(leaf(), expected)


def test_all_violations_are_reported_at_once() -> None:
    with pytest.raises(InvalidSvid) as refusal:
        require_valid_svid(leaf(subject="x", ends=timedelta(hours=25)), EXPECTED)

    assert refusal.value.violations == (
        "the subject is not empty",
        "valid for longer than allowed",
    )


NAMES = ("istiod.istio-system.svc", "10.0.0.1")
DIALLED = (
    x509.SubjectAlternativeName(
        [x509.DNSName(NAMES[0]), x509.IPAddress(ipaddress.ip_address(NAMES[1]))]
    ),
    False,
)
SERVES = purposes(Purpose.SERVER_AUTH)
SERVER = ServerExpectation(
    names=NAMES,
    public_key=KEY.public,
    signer=ROOT.certificate,
    now=START,
    ttl=timedelta(hours=24),
)


def server(**changed: tuple[x509.ExtensionType, bool]) -> str:
    return leaf(subject=NAMES[0], **{"san": DIALLED, "purposes": SERVES, **changed})


def test_a_server_s_leaf_by_the_book_passes_and_so_does_the_template_s() -> None:
    made = server_certificate(ROOT, names=NAMES, lifetime=SERVER.ttl, clock=ManualClock())

    require_valid_server(server(), SERVER)
    require_valid_server(made.chain_pem, replace(SERVER, public_key=made.key.public))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(lambda: server(san=san(URI)), "the names are", id="an identity"),
        pytest.param(
            lambda: server(san=(x509.SubjectAlternativeName([*DIALLED[0], ELSE]), False)),
            "the names are",
            id="an identity too",
        ),
        pytest.param(
            lambda: server(san=(x509.SubjectAlternativeName([x509.DNSName(NAMES[0])]), False)),
            "the names are",
            id="a name is missing",
        ),
        pytest.param(
            lambda: server(purposes=purposes(Purpose.SERVER_AUTH, Purpose.CLIENT_AUTH)),
            "extended key usage",
            id="a client too",
        ),
        pytest.param(lambda: server(constraints=authority(0)), "is an authority", id="CA true"),
        pytest.param(
            lambda: leaf(san=DIALLED, purposes=SERVES, ends=timedelta(hours=25)),
            "longer than allowed",
            id="lives longer than asked",
        ),
        pytest.param(
            lambda: leaf(san=DIALLED, purposes=SERVES, signer=STRANGER),
            "not signed by the signer",
            id="a stranger's signature",
        ),
    ],
)
def test_a_server_s_leaf_that_breaks_a_rule_is_refused(
    make: Callable[[], str], complaint: str
) -> None:
    with pytest.raises(InvalidCertificate, match=complaint):
        require_valid_server(make(), SERVER)


BELOW = AuthorityExpectation(
    public_key=KEY.public, signer=ROOT.certificate, now=START, ttl=timedelta(days=2)
)
SIGNS = (usage("key_cert_sign", "crl_sign"), True)


def made_authority(**changed: Any) -> str:
    """Return an intermediate below the root, by hand."""
    whole = {"constraints": authority(0), "usage": SIGNS}
    whole |= {name: good()[name] for name in ("ski", "aki")}
    return authority_pem(
        **{"subject": subject_name("below", []), "ends": timedelta(days=2), **whole, **changed}
    )


def authority_pem(
    *,
    subject: x509.Name,
    ends: timedelta,
    starts: timedelta = -timedelta(hours=4),
    signer: Credential = ROOT,
    **extensions: tuple[x509.ExtensionType, bool],
) -> str:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject)
        .public_key(KEY.public)
        .serial_number(7)
        .not_valid_before(START + starts)
        .not_valid_after(START + ends)
    )
    for extension, critical in extensions.values():
        builder = builder.add_extension(extension, critical=critical)
    return certificate_pem(builder.sign(signer.key.signer, hashes.SHA256()))


def test_authorities_by_the_book_pass_and_so_do_the_templates() -> None:
    clock, ttl = ManualClock(), timedelta(days=9)
    below = intermediate_ca(ROOT, lifetime=BELOW.ttl, clock=clock)
    root = AuthorityExpectation(public_key=ROOT.key.public, signer=None, now=START, ttl=ttl)

    require_valid_authority(made_authority(), BELOW)
    require_valid_authority(below.chain_pem, replace(BELOW, public_key=below.key.public))
    require_valid_authority(ROOT.chain_pem, root)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"constraints": authority(None)}, "wrong number of authorities below: None"),
        ({"constraints": authority(1)}, "wrong number of authorities below: 1"),
        ({"constraints": (x509.BasicConstraints(ca=False, path_length=None), True)}, "not an auth"),
        ({"usage": (usage("key_cert_sign"), True)}, "wrong key usage"),
        ({"usage": (usage("key_cert_sign", "crl_sign", "digital_signature"), True)}, "key usage"),
        ({"usage": (SIGNS[0], False)}, "criticality"),
        ({"san": san(URI)}, "unexpected extensions"),
        ({"ski": (x509.SubjectKeyIdentifier(b"x" * 20), False)}, "subject key identifier"),
        ({"aki": good(STRANGER)["aki"]}, "authority key identifier"),
        ({"signer": STRANGER}, "not signed by the signer"),
        ({"subject": subject_name("", [])}, "the subject is empty"),
        ({"subject": ROOT.certificate.subject}, "the subject is the signer's"),
        ({"ends": timedelta(days=3)}, "longer than allowed"),
        ({"starts": -timedelta(days=1, seconds=2)}, "too early"),
    ],
)
def test_an_authority_that_breaks_a_rule_is_refused(
    changed: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidCertificate, match=complaint):
        require_valid_authority(made_authority(**changed), BELOW)


def test_an_authority_with_another_key_or_above_itself_is_refused() -> None:
    other = replace(BELOW, public_key=new_key().public)
    with pytest.raises(InvalidCertificate, match="not the one that was made for it"):
        require_valid_authority(made_authority(), other)
    with pytest.raises(InvalidCertificate, match="not signed by the signer"):
        require_valid_authority(made_authority(), replace(BELOW, signer=None))
    with pytest.raises(InvalidCertificate, match="the signer's own"):
        require_valid_authority(ROOT.chain_pem, BELOW)
