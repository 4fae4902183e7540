import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutua.identity.sealing import KEY_BYTES, Sealer, Unsealable, is_sealed

KEY = bytes(range(KEY_BYTES))
SEALER = Sealer(KEY)
PLAIN = b'{"kind":"Secret","data":{"ca-key.pem":"c2VjcmV0"}}'
PLACE = "secrets istio-system/cacerts"


@given(plain=st.binary(max_size=2000), what=st.text(max_size=50))
def test_what_was_sealed_comes_back_and_does_not_show(plain: bytes, what: str) -> None:
    sealed = SEALER.seal(plain, what)

    assert SEALER.open(sealed, what) == plain
    assert is_sealed(sealed)
    assert len(plain) < 8 or plain not in sealed[-len(plain) - 16 :]


def test_any_flipped_bit_is_refused_and_the_place_named() -> None:
    sealed = SEALER.seal(PLAIN, PLACE)

    for position in range(len(sealed)):
        for bit in (1, 0x80):
            damaged = bytearray(sealed)
            damaged[position] ^= bit
            with pytest.raises(Unsealable, match="secrets istio-system/cacerts"):
                SEALER.open(bytes(damaged), PLACE)


def test_any_cut_is_refused() -> None:
    sealed = SEALER.seal(PLAIN, PLACE)

    for length in range(len(sealed)):
        with pytest.raises(Unsealable):
            SEALER.open(sealed[:length], PLACE)


def test_what_was_moved_to_another_place_is_refused() -> None:
    sealed = SEALER.seal(PLAIN, PLACE)

    with pytest.raises(Unsealable, match="belongs elsewhere"):
        SEALER.open(sealed, "secrets default/cacerts")


def test_another_data_key_is_named() -> None:
    other = Sealer(bytes(KEY_BYTES))

    with pytest.raises(Unsealable, match=f"{SEALER.key_id}.*{other.key_id}"):
        other.open(SEALER.seal(PLAIN, PLACE), PLACE)


def test_clear_text_is_not_taken_for_sealed() -> None:
    with pytest.raises(Unsealable, match="not a sealed text"):
        SEALER.open(PLAIN, PLACE)


def test_the_same_text_never_looks_the_same() -> None:
    assert SEALER.seal(PLAIN, PLACE) != SEALER.seal(PLAIN, PLACE)


def test_the_key_does_not_show() -> None:
    assert KEY.hex() not in repr(SEALER)
    with pytest.raises(TypeError):
        pickle.dumps(SEALER)
