"""Private keys: they survive PEM, and show themselves nowhere else."""

import pickle

import pytest

from mutua.identity.keys import Malformed, new_key, parse_key
from mutua.identity.x509 import Credential


def test_a_key_survives_the_way_through_pem() -> None:
    key = new_key()

    assert parse_key(key.pem()).public == key.public


def test_a_key_shows_itself_neither_in_repr_nor_in_a_pickle() -> None:
    key = new_key()
    owner = Credential(chain_pem="", key=key)
    secret = "".join(key.pem().splitlines()[1:-1])

    assert repr(key) == str(key) == f"{key}" == "PrivateKey(redacted)"
    assert "PRIVATE" not in repr(owner)
    assert secret not in repr(owner)
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize(
    "text", ["", "secret", "-----BEGIN PRIVATE KEY-----\nQUJD\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_not_a_key_is_rejected_without_quoting_it(text: str) -> None:
    with pytest.raises(Malformed) as refusal:
        parse_key(text)

    assert str(refusal.value) == "not an unencrypted PEM private key"
    assert refusal.value.__suppress_context__
