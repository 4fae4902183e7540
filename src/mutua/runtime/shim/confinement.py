"""What may a container's program do?  Nothing its user may not, and nothing to its own cage.

Every pod of a mesh runs under one kernel uid, and inside the user namespace that uid is called
root.  So root must mean nothing: no capability in any set, none to be gained by executing a file
(securebits NOROOT, locked; no_new_privs; empty bounding set).  What is left is the plain access
that the user's own files grant.

Source for the order of steps: capabilities(7), "The securebits flags" and "Ambient capability
set"; each step takes away the right to repeat the one before it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from mutua.runtime import linux
from mutua.runtime.spec import StartFailed

CAPABILITIES: Final = {"NET_BIND_SERVICE": 10, "NET_ADMIN": 12, "NET_RAW": 13}
"""The capabilities that a container may keep (linux/capability.h).

All three act on the pod's own network namespace only.
"""

SECUREBITS: Final = 0b1110_1111
"""NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE and the locks of these and of KEEP_CAPS."""


def capability_mask(names: Iterable[str]) -> int:
    """Return the bit mask of the named capabilities.

    Raises:
        StartFailed: A container may not keep one of them.
    """
    mask = 0
    for name in names:
        if name not in CAPABILITIES:
            raise StartFailed(f"capability {name!r} is not available to containers")
        mask |= 1 << CAPABILITIES[name]
    return mask


def confine(capabilities: Sequence[str] = ()) -> None:
    """Give up every capability but `capabilities`, for this process and all it executes."""
    keep = capability_mask(capabilities)
    last = linux.last_capability()
    linux.set_capabilities(permitted=(1 << (last + 1)) - 1, inheritable=keep)
    for number in range(last + 1):
        linux.prctl(linux.PR_CAPBSET_DROP, number)
    for number in range(last + 1):
        if keep >> number & 1:
            linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_RAISE, number)
    linux.prctl(linux.PR_SET_SECUREBITS, SECUREBITS)
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.set_capabilities(permitted=keep, inheritable=keep)


def drop_everything() -> None:
    """Give up what `confine` left, once the program that needs it has been forked off."""
    linux.prctl(linux.PR_CAP_AMBIENT, linux.PR_CAP_AMBIENT_CLEAR_ALL)
    linux.set_capabilities(permitted=0, inheritable=0)
