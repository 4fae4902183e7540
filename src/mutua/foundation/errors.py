"""Every error mutua raises on purpose, grouped by who has to act.

The caller of a function rarely cares what broke; it needs to know what to do next.  So there is
one branch per reaction, and nothing else:

    MutuaError
    ├── Rejected      the input is wrong        -> tell its author, never retry
    ├── Denied        a security decision       -> tell the peer nothing, audit, never retry
    ├── Conflict      someone else wrote first  -> re-read and retry at once
    └── Unavailable   the world is not ready    -> retry with backoff

Modules subclass a branch to add a `code` and fields, never to add a branch.  Anything else that
escapes (ValueError, KeyError …) is a bug in mutua and keeps its traceback.
"""

from typing import ClassVar


class MutuaError(Exception):
    """Base of the errors a caller is expected to handle.

    Attributes:
        code: Stable dotted identifier; safe to match in scripts, never reused or renamed.
        exit_status: What a command exits with when this error ends it.
        hint: One imperative sentence telling the reader what to do, or "".
    """

    code: ClassVar[str] = "mutua.unspecified"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Rejected(MutuaError):
    """The input is wrong and will stay wrong; its author must change it."""

    code = "input.rejected"


class Denied(MutuaError):
    """A security decision went against the caller.  Never retried."""

    code = "policy.denied"


class Conflict(MutuaError):
    """The object changed underneath us.  Re-read it and retry at once."""

    code = "store.conflict"


class Unavailable(MutuaError):
    """A dependency is not ready.  Retry with backoff.

    Attributes:
        retry_after: Seconds the other side asked us to wait, or None.
    """

    code = "remote.unavailable"

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
