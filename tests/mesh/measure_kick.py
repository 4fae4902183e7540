"""How long from `mutua kick` to the last connection closed?  Prints a line per number of them.

    python tests/mesh/measure_kick.py

In a mesh of its own, a client holds N connections of each kind (HTTP/1.1 answers, HTTP/2 calls one
after the other, gRPC streams, raw TCP) to one server, and is kicked by its identity.  The instant
of a connection's end is the one at which the client's program sees it, by the same clock.  The
command's own start is counted; the control plane's part, from its taking notice to the first
closing, is in its log.
"""

import re
import tempfile
import time
from pathlib import Path

from mutua.testing.lasting import KINDS, PROGRAMS, Lasting, client, open_now, read_log, server
from mutua.testing.running_mesh import RunningMesh, eventually

IDENTITY = "spiffe://cluster.local/ns/shop/sa/bad"


def connections(mesh: RunningMesh) -> list[Lasting]:
    argv = ("logs", "deploy/bad", "-n", "shop", "-c", "c", "--tail=-1")
    return read_log(mesh.kubectl(*argv, check=False).stdout)


def measure(mesh: RunningMesh, count: int) -> str:
    mesh.apply(client("bad", "web", count))
    mesh.kubectl("rollout", "status", "deploy/bad", "-n", "shop", "--timeout=60s")
    everything = count * len(KINDS)
    eventually(lambda: len(open_now(connections(mesh))) == everything, f"{everything} connections")
    held = open_now(connections(mesh))
    began = time.time()
    mesh.mutua("kick", IDENTITY)
    answered = time.time() - began
    eventually(lambda: not open_now(connections(mesh)), "everything closed")
    ends = {(one.kind, one.number, one.begun): one.ended for one in connections(mesh)}
    late = {
        kind: max(
            (ends[one.kind, one.number, one.begun] or 0) - began for one in held if one.kind == kind
        )
        for kind in KINDS
    }
    mesh.mutua("kick", "--undo", IDENTITY)
    mesh.kubectl("delete", "deploy/bad", "-n", "shop")
    eventually(lambda: not mesh.get("pods", "-n", "shop", "-l", "app=bad")["items"], "no client")
    inside = re.findall(r"took=([0-9.]+)", mesh.daemon_log())[-1]
    times = "  ".join(f"{kind} {seconds:.2f} s" for kind, seconds in late.items())
    command = f"command {answered:.2f} s, of which control plane {inside} s"
    return f"{count:4} of each kind: {times}  {command}"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mutua-") as folder:
        mesh = RunningMesh(Path(folder), name="kick")
        try:
            mesh.up()
            mesh.apply(PROGRAMS + server("web"))
            mesh.kubectl("rollout", "status", "deploy/web", "-n", "shop", "--timeout=60s")
            for count in (10, 50):
                print(measure(mesh, count), flush=True)
        finally:
            mesh.mutua("down", "--purge")


if __name__ == "__main__":
    main()
