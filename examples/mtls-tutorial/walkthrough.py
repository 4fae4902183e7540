"""Start a private mesh, walk through the tutorial, and leave nothing running.

Exit status 0 only when every observation was the expected one.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from observation import Step
from transcript import CLEANUP, EXERCISES

HERE = Path(__file__).parent
MUTUA = [sys.executable, "-m", "mutua"]
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def perform(step: Step, environ: dict[str, str], kubectl: str) -> bool:
    """Run one step, say what was expected and what was observed."""
    mutua = shlex.join(MUTUA)
    shown = step.command.format(kubectl="kubectl", istioctl="istioctl")
    print(f"\n  {step.why}\n  {paint('$ ' + shown, '1')}", flush=True)
    started = time.monotonic()
    done, seen = step.observe(HERE, environ, kubectl=kubectl, istioctl=f"{mutua} istioctl")
    took = time.monotonic() - started
    verdict = paint("ok", "32") if seen.matched else paint("MISMATCH", "31")
    print(f"    expected  {step.expected}")
    print(f"    observed  {seen.seen}   [{verdict}, {took:.1f} s]", flush=True)
    if not seen.matched:
        print(done.stdout + done.stderr, flush=True)
    return seen.matched


def walk(environ: dict[str, str], kubectl: str) -> bool:
    """Run every exercise; stop at the first observation that differs."""
    for title, steps in (*EXERCISES, CLEANUP):
        print(f"\n{paint(title, '1;36')}")
        if not all(perform(step, environ, kubectl) for step in steps):
            return False
    return True


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutua-demo-", ignore_cleanup_errors=True) as folder:
        environ = {
            **os.environ,
            "MUTUA_NAME": "demo",
            "MUTUA_STATE_DIR": f"{folder}/state",
            "KUBECONFIG": f"{folder}/state/kubeconfig",
            "KUBECACHEDIR": f"{folder}/kube-cache",
        }
        kubectl = "kubectl" if shutil.which("kubectl") else shlex.join([*MUTUA, "kubectl"])
        print(paint("$ mutua up", "1"), flush=True)
        try:
            if subprocess.run([*MUTUA, "up"], env=environ, check=False).returncode != 0:
                return 1
            matched = walk(environ, kubectl)
        finally:
            print(f"\n{paint('$ mutua down --purge', '1')}", flush=True)
            down = subprocess.run([*MUTUA, "down", "--purge"], env=environ, check=False)
    if not matched or down.returncode != 0:
        print(paint("\nnot everything was as expected", "31"))
        return 1
    took = time.monotonic() - started
    print(paint(f"\nevery observation matched, in {took:.0f} s; nothing is left running", "32"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
