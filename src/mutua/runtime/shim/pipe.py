"""What a forked child has to say before or instead of running: a pipe read without waiting."""

import os
from collections.abc import Callable
from typing import Final

CHUNK: Final = 65536

Watch = Callable[[int, Callable[[], None] | None], None]
"""Call back when a descriptor is readable; None stops watching it."""


class ChildPipe:
    """The shim's end of a pipe whose other end belongs to a child."""

    def __init__(self, watch: Watch, react: Callable[[bytes, bool], None]) -> None:
        """Make the pipe.

        Args:
            watch: Of the event loop.
            react: Called with everything received so far and whether that is all.
        """
        self._read, self.child_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read, False)
        self._watch = watch
        self._react = react
        self._received = b""
        self._open = True

    def forked(self) -> None:
        """Let go of the child's end, in the parent, and begin to listen."""
        os.close(self.child_end)
        self._watch(self._read, self.drain)

    def discard(self) -> None:
        """Close both ends: there is no child."""
        os.close(self.child_end)
        self._open = False
        os.close(self._read)

    def drain(self) -> None:
        """Read what is there and react to it; called once more when the child has been reaped."""
        while self._open:
            try:
                data = os.read(self._read, CHUNK)
            except BlockingIOError:
                return
            self._received += data
            if not data:
                self.close()
            self._react(self._received, not data)

    def close(self) -> None:
        """Stop listening."""
        if self._open:
            self._open = False
            self._watch(self._read, None)
            os.close(self._read)
