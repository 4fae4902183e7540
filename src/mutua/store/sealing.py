"""What a durable store needs to keep some kinds unreadable on disk.

The store decides what is sealed and where it belongs; how, is somebody else's: an implementation
with real cryptography is `mutua.identity.sealing.Sealer`.
"""

from typing import Final, Protocol

from mutua.api.object import SECRETS, Key, Resource

SEALED_KINDS: Final[frozenset[Resource]] = frozenset({SECRETS})
"""Kinds of which no version is written in clear."""


class Sealing(Protocol):
    """Makes bytes unreadable and unalterable, and gives them back."""

    @property
    def key_id(self) -> str:
        """Public name of the key that is used."""
        ...

    def seal(self, plain: bytes, what: str) -> bytes:
        """Return `plain` sealed as being `what`."""
        ...

    def open(self, sealed: bytes, what: str) -> bytes:
        """Return what was sealed as being `what`.

        Raises:
            Rejected: It was not, not with this key, or has been altered since.
        """
        ...


def place(key: Key) -> str:
    """Say to which object a sealed body belongs."""
    return f"{key.resource} {key.namespace}/{key.name}"
