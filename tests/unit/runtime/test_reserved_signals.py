"""A program starts with every signal at its default, also those that only the C library knows."""

import subprocess
import sys

IGNORING_PARENT = """
import ctypes, os, sys
from mutua.runtime import linux

ignore = (ctypes.c_long * 4)(1, 0, 0, 0)  # SIG_IGN
number = ctypes.c_long(linux._SYS_RT_SIGACTION)
for reserved in linux.RESERVED_SIGNALS:
    arguments = (number, reserved, ctypes.byref(ignore), None, ctypes.c_long(8))
    assert not ctypes.CDLL(None).syscall(*arguments)
if sys.argv[1] == "reset":
    linux.reset_reserved_signals()
os.execvp("grep", ["grep", "SigIgn", "/proc/self/status"])
"""


def ignored_after(action: str) -> int:
    argv = [sys.executable, "-c", IGNORING_PARENT, action]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout
    return int(said.split()[1], 16)


def test_what_a_parent_ignored_is_handed_down_unless_it_is_reset() -> None:
    reserved = 1 << 31 | 1 << 32

    assert ignored_after("keep") & reserved == reserved
    assert ignored_after("reset") & reserved == 0
