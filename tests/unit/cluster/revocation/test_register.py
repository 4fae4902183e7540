from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mutua.agent.certificate_files import CHAIN
from mutua.agent.issuer import LocalIssuer
from mutua.agent.workload import Workload
from mutua.api.revocation import Revocation
from mutua.cluster.revocation.register import Gate, Leaf, Register, Revoked
from mutua.foundation.errors import Unavailable
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.identity.renewal import Validity
from mutua.identity.x509 import self_signed_ca
from mutua.testing.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BAD = SpiffeId("cluster.local", "shop", "bad")
GOOD = SpiffeId("cluster.local", "shop", "good")


def revocation(*, identity: SpiffeId | None = None, pod: str = "", serial: int = 0) -> Revocation:
    return Revocation(uid="u", name="r", identity=identity, pod=pod, serial=serial, certificates={})


def until(end: datetime) -> Validity:
    return Validity(not_before=end - timedelta(days=1), not_after=end)


def gate(register: Register) -> Gate:
    clock = ManualClock(NOW)
    root = self_signed_ca("", lifetime=timedelta(days=9), clock=clock, organization="cluster.local")
    return Gate(LocalIssuer(Authority(root, "cluster.local", clock)), register)


def workload(identity: SpiffeId, uid: str = "1", certs: Path | None = None) -> Workload:
    return Workload(uid=uid, identity=identity, certs_dir=certs)


async def test_nobody_is_certified_before_it_is_known_what_is_revoked() -> None:
    with pytest.raises(Unavailable):
        await gate(Register()).sign(new_request(GOOD).csr_pem, workload(GOOD))


@pytest.mark.parametrize(
    "what", [revocation(identity=BAD), revocation(pod="1")], ids=["identity", "pod"]
)
async def test_who_is_revoked_gets_nothing_and_everybody_else_does(what: Revocation) -> None:
    register = Register()
    register.revise([what])
    signer = gate(register)

    with pytest.raises(Revoked, match="revoked by r"):
        await signer.sign(new_request(BAD).csr_pem, workload(BAD))

    issued = await signer.sign(new_request(GOOD).csr_pem, workload(GOOD, uid="2"))
    newest = register.newest("2")
    assert newest is not None
    assert newest.serial == int(issued.serial_number, 16)


async def test_a_revoked_certificate_is_replaced() -> None:
    register = Register()
    register.revise([revocation(serial=7)])
    register.note(Leaf("1", BAD, 7, until(NOW + timedelta(hours=1))))

    await gate(register).sign(new_request(BAD).csr_pem, workload(BAD))

    assert [leaf.serial for leaf in register.concerned(revocation(serial=7))] == [7]
    assert len([*register.concerned(revocation(pod="1"))]) == 2


async def test_what_an_earlier_daemon_issued_is_found_when_its_pod_is_refused(
    tmp_path: Path,
) -> None:
    earlier = Register()
    earlier.revise([])
    issued = await gate(earlier).sign(new_request(BAD).csr_pem, workload(BAD))
    (tmp_path / CHAIN).write_text(issued.chain_pem)
    register, what = Register(), revocation(identity=BAD)
    register.revise([what])

    with pytest.raises(Revoked):
        await gate(register).sign(new_request(BAD).csr_pem, workload(BAD, certs=tmp_path))

    assert [leaf.serial for leaf in register.concerned(what)] == [int(issued.serial_number, 16)]


def test_what_has_expired_is_forgotten() -> None:
    register = Register()
    register.note(Leaf("1", BAD, 7, until(NOW)))

    register.forget(NOW)

    assert [*register.concerned(revocation(identity=BAD))] == []
