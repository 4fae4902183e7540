"""Plugged-in sets made with openssl, as operators make them; each fault names the file."""

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.material import UnusableMaterial, read_material
from mutua.testing.clock import ManualClock

SCRIPT = Path(__file__).parents[3] / "examples/mtls-tutorial/create-custom-ca.sh"
FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
WEB = SpiffeId("cluster.local", "shop", "web")


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make(tmp_path_factory.mktemp("ca"))


def make(folder: Path, *arguments: str) -> dict[str, str]:
    subprocess.run([str(SCRIPT), *arguments], cwd=folder, check=True, capture_output=True)
    return {name: (folder / name).read_text() for name in FILES}


def openssl(folder: Path, line: str) -> None:
    subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)


def test_what_the_script_makes_signs_leaves_that_openssl_verifies(
    made: dict[str, str], openssl: Callable[..., str]
) -> None:
    material = read_material(made, now())
    issued = Authority(material, "cluster.local", ManualClock(now())).sign(
        new_request(WEB).csr_pem, WEB
    )

    assert issued.chain_pem.count("BEGIN CERTIFICATE") == 3
    said = openssl(
        *("verify", "-x509_strict", "-CAfile", "root", "-untrusted", "chain", "leaf"),
        root=made["root-cert.pem"],
        chain="".join(issued.intermediates),
        leaf=issued.leaf,
    )
    assert said.strip() == "leaf: OK"


def test_the_layout_of_type_tls_is_understood(made: dict[str, str]) -> None:
    files = {
        "tls.crt": made["ca-cert.pem"],
        "tls.key": made["ca-key.pem"],
        "ca.crt": made["root-cert.pem"],
    }

    found, wanted = read_material(files, now()), read_material(made, now())
    assert (found.fingerprint, found.bundle) == (wanted.fingerprint, wanted.bundle)
    assert found.intermediates == wanted.intermediates


def test_a_root_that_signs_by_itself_has_no_intermediates(tmp_path: Path) -> None:
    files = make(tmp_path)
    files["ca-cert.pem"] = files["cert-chain.pem"] = files["root-cert.pem"]
    files["ca-key.pem"] = (tmp_path / "root-key.pem").read_text()

    assert read_material(files, now()).intermediates == ()


def test_several_roots_are_all_trusted(made: dict[str, str], tmp_path: Path) -> None:
    other = make(tmp_path)
    files = {**made, "root-cert.pem": other["root-cert.pem"] + made["root-cert.pem"]}

    material = read_material(files, now())

    assert len(material.bundle.roots) == 2
    assert material.anchor == read_material(made, now()).anchor


@pytest.mark.parametrize("missing", FILES)
def test_a_set_that_is_not_complete_is_refused(made: dict[str, str], missing: str) -> None:
    for files in ({k: v for k, v in made.items() if k != missing}, {**made, missing: " "}):
        with pytest.raises(UnusableMaterial, match=f"{missing}: missing or empty"):
            read_material(files, now())


@pytest.mark.parametrize("damaged", FILES)
def test_a_damaged_file_is_named(made: dict[str, str], damaged: str) -> None:
    with pytest.raises(UnusableMaterial) as refused:
        read_material({**made, damaged: made[damaged][:200]}, now())

    assert refused.value.file == damaged


def test_the_key_of_another_ca_is_refused(made: dict[str, str], tmp_path: Path) -> None:
    other = make(tmp_path)

    with pytest.raises(UnusableMaterial, match=r"ca-key\.pem: is not the key of ca-cert\.pem"):
        read_material({**made, "ca-key.pem": other["ca-key.pem"]}, now())


def test_a_root_that_did_not_sign_it_is_refused(made: dict[str, str], tmp_path: Path) -> None:
    other = make(tmp_path)
    files = {**made, "root-cert.pem": other["root-cert.pem"], "cert-chain.pem": made["ca-cert.pem"]}

    with pytest.raises(UnusableMaterial, match=r"neither in cert-chain\.pem nor in root-cert\.pem"):
        read_material(files, now())


def test_an_expired_set_is_refused_and_one_that_is_not_valid_yet(made: dict[str, str]) -> None:
    with pytest.raises(UnusableMaterial, match=r"ca-cert\.pem: .*expired at"):
        read_material(made, now() + timedelta(days=731))
    with pytest.raises(UnusableMaterial, match="is not valid before"):
        read_material(made, now() - timedelta(days=1))


def test_a_leaf_is_not_a_ca(tmp_path: Path) -> None:
    files = make(tmp_path)
    (tmp_path / "leaf.ext").write_text("basicConstraints = critical, CA:FALSE\n")
    openssl(tmp_path, "req -new -key ca-key.pem -subj /CN=leaf -out leaf.csr")
    openssl(
        tmp_path,
        "x509 -req -in leaf.csr -CA root-cert.pem -CAkey root-key.pem -set_serial 7 -days 9"
        " -extfile leaf.ext -out leaf.pem",
    )
    files["ca-cert.pem"] = (tmp_path / "leaf.pem").read_text()

    with pytest.raises(UnusableMaterial, match="is not a certificate authority"):
        read_material(files, now())


def test_a_key_that_envoy_cannot_present_is_refused_with_the_reason(tmp_path: Path) -> None:
    openssl(tmp_path, "req -x509 -newkey ed25519 -nodes -keyout k.pem -subj /CN=ed -out c.pem")
    certificate, key = (tmp_path / "c.pem").read_text(), (tmp_path / "k.pem").read_text()
    files = dict.fromkeys(("ca-cert.pem", "cert-chain.pem", "root-cert.pem"), certificate)

    with pytest.raises(UnusableMaterial, match="EdDSA, which Envoy cannot present"):
        read_material({**files, "ca-key.pem": key}, now())


def test_an_rsa_ca_signs(tmp_path: Path) -> None:
    openssl(tmp_path, "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=r -out c.pem")
    certificate, key = (tmp_path / "c.pem").read_text(), (tmp_path / "k.pem").read_text()
    files = dict.fromkeys(("ca-cert.pem", "cert-chain.pem", "root-cert.pem"), certificate)
    material = read_material({**files, "ca-key.pem": key}, now())

    issued = Authority(material, "cluster.local", ManualClock(now())).sign(
        new_request(WEB).csr_pem, WEB
    )

    assert issued.intermediates == ()


def crl(
    folder: Path, issuer: str, *serials: str, days: int = 30, key: str = "", span: str = ""
) -> str:
    """Have openssl make the list of a CA whose files are in a folder, perhaps with another key."""
    revoked = [f"R\t991231235959Z\t260101000000Z\t{one}\tunknown\t/CN=x\n" for one in serials]
    (folder / "index.txt").write_text("".join(revoked))
    (folder / "index.txt.attr").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = d\n[d]\ndatabase = {folder}/index.txt\n"
        f"default_md = sha256\ndefault_crl_days = {days}\n"
    )
    files = f"-keyfile {key or issuer}-key.pem -cert {issuer}-cert.pem -out list.pem {span}"
    openssl(folder, f"ca -gencrl -config ca.cnf {files}")
    return (folder / "list.pem").read_text()


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with a CA, and the set's files."""
    return tmp_path, make(tmp_path)


def refusal(files: dict[str, str], lists: str, at: datetime | None = None) -> str:
    with pytest.raises(UnusableMaterial) as refused:
        read_material({**files, "ca-crl.pem": lists}, at or now())
    assert refused.value.file == "ca-crl.pem"
    return str(refused.value)


def serial_of(folder: Path, name: str) -> str:
    argv = ["openssl", "x509", "-noout", "-serial", "-in", str(folder / name)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("serial=")


def test_lists_of_all_authorities_are_taken_over_and_openssl_checks_a_leaf_with_them(
    own: tuple[Path, dict[str, str]], openssl: Callable[..., str]
) -> None:
    folder, files = own
    listed = "comment\n" + crl(folder, "ca") + crl(folder, "root").rstrip()
    material = read_material({**files, "ca-crl.pem": listed}, now())
    issued = Authority(material, "cluster.local", ManualClock(now())).sign(
        new_request(WEB).csr_pem, WEB
    )

    said = openssl(
        *("verify", "-crl_check_all", "-CAfile", "root", "-untrusted", "chain", "leaf"),
        root=files["root-cert.pem"] + material.bundle.crl,
        chain="".join(issued.intermediates),
        leaf=issued.leaf,
    )
    assert said.strip() == "leaf: OK"
    assert material.bundle.crl == listed.removeprefix("comment\n") + "\n"


def test_what_is_no_list_or_a_damaged_one_is_refused(own: tuple[Path, dict[str, str]]) -> None:
    folder, files = own
    assert "holds no revocation list" in refusal(files, "nothing")
    assert "not a PEM revocation list" in refusal(files, crl(folder, "ca")[:200])


@pytest.mark.parametrize(("listed", "missing"), [("ca", "Root CA"), ("root", "Intermediate CA")])
def test_a_revocation_list_must_be_there_for_every_ca_of_the_set(
    own: tuple[Path, dict[str, str]], listed: str, missing: str
) -> None:
    folder, files = own
    why = refusal(files, crl(folder, listed))
    assert "has no list of" in why
    assert missing in why


def test_an_expired_list_is_refused_and_one_of_the_future(
    own: tuple[Path, dict[str, str]],
) -> None:
    folder, files = own
    lists = crl(folder, "ca") + crl(folder, "root", days=2)
    read_material({**files, "ca-crl.pem": lists}, now())

    ended = refusal(files, lists, now() + timedelta(days=2, seconds=2))
    tomorrow = now() + timedelta(days=1)
    span = f"-crl_lastupdate {tomorrow:%Y%m%d%H%M%SZ} -crl_nextupdate 20991231000000Z"
    early = refusal(files, crl(folder, "ca") + crl(folder, "root", span=span))

    assert "the list of 'CN=Example Root CA,O=Example' ended at" in ended
    assert "is not valid before" in early


def test_a_list_is_signed_by_the_ca_whose_name_it_has(own: tuple[Path, dict[str, str]]) -> None:
    folder, files = own
    root = crl(folder, "root")
    # The name of the one with the key of the other: each alone belongs to the set.
    (folder / "mixed-cert.pem").write_text(forged(folder))
    mixed = crl(folder, "mixed", key="root")

    why = refusal(files, mixed + root)

    assert "'CN=Example Intermediate CA,O=Example' is not signed by a CA of that name" in why


def forged(folder: Path) -> str:
    """Return a certificate with the intermediate's name and the root's key."""
    (folder / "forged.cnf").write_text(
        "[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ca\n"
        "[dn]\nO = Example\nCN = Example Intermediate CA\n[ca]\nbasicConstraints = CA:TRUE\n"
    )
    openssl(folder, "req -x509 -new -key root-key.pem -config forged.cnf -out forged.pem")
    return (folder / "forged.pem").read_text()


def test_a_list_of_another_ca_is_refused(
    own: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, files = own
    other = tmp_path_factory.mktemp("other")
    make(other, "Other")

    lists = crl(folder, "ca") + crl(folder, "root") + crl(other, "ca")

    assert "Other Intermediate CA,O=Other' is not signed by a CA" in refusal(files, lists)


@pytest.mark.parametrize(("revoked", "by"), [("ca-cert.pem", "root"), ("root-cert.pem", "root")])
def test_a_list_that_revokes_the_set_itself_is_refused(
    own: tuple[Path, dict[str, str]], revoked: str, by: str
) -> None:
    folder, files = own
    lists = crl(folder, "ca") + crl(folder, by, serial_of(folder, revoked))

    assert "which belongs to the set" in refusal(files, lists)


def test_a_ca_that_must_not_sign_lists_has_none(tmp_path: Path) -> None:
    (tmp_path / "ca.ext").write_text(
        "[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ca\n[dn]\nCN = r\n"
        "[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n"
    )
    new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout r-key.pem -out r-cert.pem"
    openssl(tmp_path, f"req -x509 {new} -config ca.ext")
    names = ("ca-cert.pem", "cert-chain.pem", "root-cert.pem")
    files = dict.fromkeys(names, (tmp_path / "r-cert.pem").read_text())
    files["ca-key.pem"] = (tmp_path / "r-key.pem").read_text()

    assert "keyUsage without cRLSign" in refusal(files, crl(tmp_path, "r"))


def test_the_private_key_is_in_no_message(made: dict[str, str]) -> None:
    secret = made["ca-key.pem"].splitlines()[1]
    for name in FILES:
        with pytest.raises(UnusableMaterial) as refused:
            read_material({**made, name: made["ca-key.pem"][:150]}, now())
        assert secret not in f"{refused.value} {refused.value.hint} {refused.value.__cause__}"
