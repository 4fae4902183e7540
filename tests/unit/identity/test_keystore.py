"""Generations on disk: what is needed stays, what is not goes, and the state survives."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mutua.foundation.clock import Clock
from mutua.foundation.errors import Rejected
from mutua.identity.keyfile import Damaged, write_credential
from mutua.identity.keystore import FORMER_FILE, KeyStore, Source
from mutua.identity.rotation import CaState, Evidence, advance, begin
from mutua.identity.validator import InvalidCertificate
from mutua.identity.x509 import Credential, self_signed_ca, server_certificate
from mutua.testing.clock import ManualClock

NOBODY = Evidence()


def opened(folder: Path, clock: ManualClock) -> KeyStore:
    return KeyStore.open(folder, "cluster.local", clock)


def rotate(store: KeyStore, target: int, clock: ManualClock) -> None:
    store.save(begin(store.state, request=f"r{target}", target=target, now=clock.now()))
    while store.state.rotation is not None:
        store.save(advance(store.state, NOBODY, clock.now()))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_state_is_found_again(tmp_path: Path, clock: ManualClock) -> None:
    store = opened(tmp_path, clock)
    store.save(begin(store.state, request="r", target=store.add_root(), now=clock.now()))
    while True:
        again = opened(tmp_path, clock)
        assert again.state == store.state
        assert again.bundle() == store.bundle()
        if store.state.rotation is None:
            break
        store.save(advance(store.state, NOBODY, clock.now()))
    assert store.state == CaState(issuing=2, trusted=(2,), last_request="r")


def test_the_former_root_s_key_is_deleted_when_the_rotation_is_over(
    tmp_path: Path, clock: ManualClock
) -> None:
    store = opened(tmp_path, clock)

    rotate(store, store.add_root(), clock)

    assert files(tmp_path) == {"state.json", "generation-2.pem"}


def test_the_root_below_which_an_intermediate_signs_is_kept(
    tmp_path: Path, clock: ManualClock
) -> None:
    store = opened(tmp_path, clock)
    anchor = store.material(1).anchor
    rotate(store, store.add_intermediate(), clock)
    rotate(store, store.add_intermediate(), clock)

    assert files(tmp_path) == {"state.json", "generation-1.pem", "generation-3.pem"}
    assert store.source(3) is Source.INTERMEDIATE
    assert store.material(3).anchor == anchor
    assert len(store.material(3).intermediates) == 1
    rotate(store, store.add_root(), clock)
    assert files(tmp_path) == {"state.json", "generation-4.pem"}


def test_what_a_crash_left_before_the_state_was_written_is_not_used(
    tmp_path: Path, clock: ManualClock
) -> None:
    opened(tmp_path, clock).add_root()  # and dies

    again = opened(tmp_path, clock)
    rotate(again, again.add_root(), clock)

    assert again.state.issuing == 2
    assert files(tmp_path) == {"state.json", "generation-2.pem"}


def test_the_root_of_an_earlier_mutua_is_taken_over(tmp_path: Path, clock: ManualClock) -> None:
    root = self_signed_ca("", organization="old.example", lifetime=timedelta(days=9), clock=clock)
    write_credential(tmp_path / FORMER_FILE, root)

    store = opened(tmp_path, clock)

    assert store.trust_domain == "old.example"
    assert store.material(1).signer.chain_pem == root.chain_pem


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"generations": {}, "trustDomain": "x"}'])
def test_a_damaged_state_is_reported_and_left_alone(
    tmp_path: Path, clock: ManualClock, text: str
) -> None:
    opened(tmp_path, clock)
    (tmp_path / "state.json").write_text(text)

    with pytest.raises(Damaged, match=r"state\.json"):
        opened(tmp_path, clock)

    assert (tmp_path / "state.json").read_text() == text


def test_a_missing_generation_is_reported(tmp_path: Path, clock: ManualClock) -> None:
    opened(tmp_path, clock)
    (tmp_path / "generation-1.pem").unlink()

    with pytest.raises(Damaged, match=r"generation-1\.pem is missing"):
        opened(tmp_path, clock)


def test_below_a_plugged_in_ca_no_intermediate_can_be_made(
    tmp_path: Path, clock: ManualClock
) -> None:
    store = opened(tmp_path / "pki", clock)
    root = self_signed_ca("theirs", lifetime=timedelta(days=9), clock=clock)
    pem = root.chain_pem
    plugged = {"ca-cert.pem": pem, "ca-key.pem": root.key.pem(), "cert-chain.pem": pem}
    rotate(store, store.add_plugged_in({**plugged, "root-cert.pem": pem}), clock)

    with pytest.raises(Rejected, match="plugged in"):
        store.add_intermediate()


@pytest.mark.parametrize("add", [KeyStore.add_root, KeyStore.add_intermediate])
def test_an_authority_that_a_bug_made_a_server_s_certificate_is_not_kept(
    tmp_path: Path,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    add: Callable[[KeyStore], int],
) -> None:
    store = opened(tmp_path, clock)

    def buggy(*_: Any, lifetime: timedelta, clock: Clock, **__: Any) -> Credential:
        root = store.material(1).signer
        return server_certificate(root, names=["x"], lifetime=lifetime, clock=clock)

    monkeypatch.setattr("mutua.identity.keystore.self_signed_ca", buggy)
    monkeypatch.setattr("mutua.identity.keystore.intermediate_ca", buggy)

    with pytest.raises(InvalidCertificate, match="missing or unexpected extensions"):
        add(store)
    assert files(tmp_path) == {"state.json", "generation-1.pem"}
