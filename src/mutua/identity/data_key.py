"""The data key of a mesh, and how it is protected itself.

    pki/data.key   {"version": 1, "keyId": "…", "protection": "none", "key": "…"}
                   {…, "protection": "passphrase", "scrypt": {"n": …, "r": 8, "p": 1, "salt": "…"},
                       "wrapped": "…"}
                   {…, "protection": "command", "command": ["/usr/bin/…"], "wrapped": "…"}

Everything that is sealed is sealed with the data key, and the data key is wrapped by at most one
thing more.  So changing a passphrase re-wraps 32 bytes and touches nothing else; and the file says
what is needed to start the mesh, so that a plain `mutua up` can ask for it.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from typing_extensions import override

from mutua.foundation.errors import Rejected
from mutua.identity.key_command import KeyCommand
from mutua.identity.keyfile import Damaged, create_file, read_secret, replace_file
from mutua.identity.sealing import KEY_BYTES, NONCE_BYTES, Sealer, key_id

FILE_NAME: Final = "data.key"
"""Below the mesh's pki directory."""

FORMAT: Final = 1

SCRYPT_N: Final = 2**17
"""Cost of a guess: 128 MB of memory and a third of a second.
Source: OWASP password storage cheat sheet, scrypt N=2^17, r=8, p=1."""

SCRYPT_R: Final = 8
SCRYPT_P: Final = 1

SCRYPT_BOUNDS: Final = (2**15, 2**20)
"""What a file may ask for: less is weak, more (1 GB) would be a way to stall a start."""

SALT_BYTES: Final = 16

SHORTEST_PASSPHRASE: Final = 8
"""Characters.  Source: NIST SP 800-63B section 5.1.1.2."""


class WrongPassphrase(Rejected):
    """The passphrase does not open the data key."""

    code = "identity.wrong_passphrase"


@dataclass(frozen=True, slots=True)
class DataKey:
    """The unwrapped data key.

    Attributes:
        key: The 32 secret bytes.
        is_protected: Whether its file needs something more to be read.
    """

    key: bytes
    is_protected: bool

    @override
    def __repr__(self) -> str:
        return f"DataKey({key_id(self.key)}, redacted)"

    def sealer(self) -> Sealer:
        """Return what seals and opens with it."""
        return Sealer(self.key, seals_files=self.is_protected)

    def to_json(self) -> str:
        """Serialise for `from_json`: to be written to a pipe, nowhere else."""
        return json.dumps({"key": _text(self.key), "isProtected": self.is_protected})

    @classmethod
    def from_json(cls, text: str) -> "DataKey":
        """Read what `to_json` wrote.

        Raises:
            Rejected: It is something else; the text is not quoted.
        """
        try:
            raw = json.loads(text)
            key = base64.b64decode(raw["key"], validate=True)
            if len(key) != KEY_BYTES:
                raise ValueError("length")
            return cls(key, bool(raw["isProtected"]))
        except (ValueError, KeyError, TypeError):
            raise Rejected(
                "no data key on standard input", hint="start the mesh with `mutua up`"
            ) from None


class Protection(Protocol):
    """What keeps the data key from whoever can read its file.

    Attributes:
        kind: As the file says it.
    """

    kind: ClassVar[str]

    def wrap(self, key: bytes) -> Mapping[str, Any]:
        """Return the fields of the file, `protection` among them."""
        ...


@dataclass(frozen=True, slots=True)
class Unprotected(Protection):
    """Only the file's mode protects the data key."""

    kind: ClassVar[str] = "none"

    @override
    def wrap(self, key: bytes) -> Mapping[str, Any]:
        return {"protection": self.kind, "key": _text(key)}


@dataclass(frozen=True, slots=True, repr=False)
class ByPassphrase(Protection):
    """A key derived from a passphrase with scrypt wraps the data key."""

    kind: ClassVar[str] = "passphrase"
    passphrase: str
    n: int = SCRYPT_N

    @override
    def wrap(self, key: bytes) -> Mapping[str, Any]:
        if len(self.passphrase) < SHORTEST_PASSPHRASE:
            raise Rejected(
                f"the passphrase has fewer than {SHORTEST_PASSPHRASE} characters",
                hint="choose a longer one: whoever has the file can guess at leisure",
            )
        salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
        cipher = AESGCM(_stretched(self.passphrase, salt, n=self.n, r=SCRYPT_R, p=SCRYPT_P))
        return {
            "protection": self.kind,
            "scrypt": {"n": self.n, "r": SCRYPT_R, "p": SCRYPT_P, "salt": _text(salt)},
            "wrapped": _text(nonce + cipher.encrypt(nonce, key, key_id(key).encode())),
        }


@dataclass(frozen=True, slots=True)
class ByCommand(Protection):
    """A command wraps the data key: the door to a KMS, an HSM or an agent."""

    kind: ClassVar[str] = "command"
    command: KeyCommand

    @override
    def wrap(self, key: bytes) -> Mapping[str, Any]:
        wrapped = self.command.wrap(key)
        if self.command.unwrap(wrapped) != key:  # before anything depends on it
            raise Rejected(
                f"{self.command}: unwrap does not give back what wrap was given",
                hint="repair the command; nothing has been changed",
            )
        return {
            "protection": self.kind,
            "command": list(self.command.argv),
            "wrapped": _text(wrapped),
        }


def protection_of(path: Path) -> str | None:
    """Return "none", "passphrase" or "command"; None when there is no such file.

    Raises:
        Damaged: The file is readable by others, or not a data key.
    """
    try:
        return str(_read(path)["protection"])
    except FileNotFoundError:
        return None


def create_data_key(path: Path, protection: Protection) -> None:
    """Make a data key, unless there is one.

    Raises:
        Rejected: It cannot be protected this way; nothing was made.
    """
    key = secrets.token_bytes(KEY_BYTES)
    create_file(path, _document(key, protection))


def protect_data_key(path: Path, key: DataKey, protection: Protection) -> None:
    """Wrap the data key anew, in one step: the file is the old one or the new one.

    Raises:
        Rejected: It cannot be protected this way; nothing was changed.
    """
    replace_file(path, _document(key.key, protection))


def unlock_data_key(path: Path, ask: Callable[[], str]) -> DataKey:
    """Read the data key.

    Args:
        path: Its file.
        ask: Returns the passphrase; called when one is needed.

    Raises:
        FileNotFoundError: There is no data key.
        Damaged: The file cannot be used; it is left as it is.
        WrongPassphrase: As it says.
        Unavailable: The command that unwraps it failed.
    """
    fields = _read(path)
    protection = fields["protection"]
    try:
        if protection == "none":
            key = base64.b64decode(fields["key"], validate=True)
        elif protection == "passphrase":
            key = _unwrap_with(ask(), fields)
        elif protection == "command":
            argv = tuple(str(word) for word in fields["command"])
            key = KeyCommand(argv).unwrap(base64.b64decode(fields["wrapped"], validate=True))
        else:
            raise ValueError("unknown protection")
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise _damaged(path) from None
    if len(key) != KEY_BYTES or key_id(key) != fields["keyId"]:
        raise Damaged(
            f"{path}: what came out is not data key {fields['keyId']}",
            hint="check the command that unwraps it, or restore the file from a backup",
        )
    return DataKey(key, is_protected=protection != "none")


def _document(key: bytes, protection: Protection) -> bytes:
    fields = {"version": FORMAT, "keyId": key_id(key), **protection.wrap(key)}
    return (json.dumps(fields, indent=2) + "\n").encode()


def _read(path: Path) -> dict[str, Any]:
    content = read_secret(path)
    try:
        fields = json.loads(content)
        if not isinstance(fields, dict) or not {"keyId", "protection"} <= fields.keys():
            raise ValueError("fields")
    except ValueError:
        raise _damaged(path) from None
    if fields.get("version") != FORMAT:
        raise Damaged(
            f"{path}: of a newer format", hint="use the version of mutua that wrote it"
        ) from None
    return fields


def _unwrap_with(passphrase: str, fields: Mapping[str, Any]) -> bytes:
    scrypt, wrapped = fields["scrypt"], base64.b64decode(fields["wrapped"], validate=True)
    n, r, p = (int(scrypt[name]) for name in ("n", "r", "p"))
    low, high = SCRYPT_BOUNDS
    if not (low <= n <= high and r == SCRYPT_R and p == SCRYPT_P):
        raise ValueError("scrypt parameters out of bounds")
    cipher = AESGCM(_stretched(passphrase, base64.b64decode(scrypt["salt"]), n=n, r=r, p=p))
    try:
        return cipher.decrypt(
            wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], str(fields["keyId"]).encode()
        )
    except InvalidTag:
        raise WrongPassphrase(
            "the passphrase does not open this mesh's data key",
            hint="try again; nothing has been changed",
        ) from None


def _stretched(passphrase: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(passphrase.encode())


def _damaged(path: Path) -> Damaged:
    return Damaged(f"{path}: not a data key", hint="restore it from a backup")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
