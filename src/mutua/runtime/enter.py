"""How does the daemon get into its mesh's namespaces?

The shim owns a user namespace U (which maps the caller to 0 and nobody else), a PID namespace P,
a mount namespace M and a network namespace N.  The daemon starts the shim when there is none, and
joins U, M and N of a live one: it lives in the host's PID namespace, its files and packets in
the mesh's.
"""

from mutua.foundation.layout import Layout


def start_shim(layout: Layout, *, python: str) -> int:
    """Start the shim in new namespaces and return its pid once its socket answers.

    Args:
        layout: The mesh's directories; `run` must exist.
        python: The interpreter to run it with.

    Raises:
        Unavailable: User namespaces are not available (the message says why in one line), or the
            shim did not come up.
    """
    raise NotImplementedError


def enter_shim(layout: Layout) -> None:
    """Join the user, mount and network namespaces of the live shim.

    The caller must be single-threaded (setns(2)), so call it before any import that starts a
    thread.

    Raises:
        Unavailable: There is no live shim, or it belongs to somebody else.
    """
    raise NotImplementedError


def shim_alive(layout: Layout) -> bool:
    """Tell whether a shim of ours answers on the mesh's control socket."""
    raise NotImplementedError
