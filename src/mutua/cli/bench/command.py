"""`mutua bench`: measure this machine, print a table or JSON."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from mutua.cli.bench import measure
from mutua.cli.bench.certificates import certificates
from mutua.cli.bench.figure import Figure
from mutua.cli.bench.propagation import SIZES, propagation
from mutua.cli.bench.rotation import rotation
from mutua.cli.bench.stage import private_mesh
from mutua.cluster.sidecar import CONCURRENCY
from mutua.runtime.envoy import find_envoy

FULL: Final = {
    "flips": 100,
    "rounds": 7,
    "pods": 10,
    "signing": 3.0,
    "sizes": SIZES,
    "rotation": (100, 1000),
}
QUICK: Final = {
    "flips": 10,
    "rounds": 1,
    "pods": 3,
    "signing": 0.5,
    "sizes": SIZES[:1],
    "rotation": (10, 10),
}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds: a check that it works, not a figure.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--json-file", type=click.Path(dir_okay=False, path_type=Path), help="Also write JSON."
)
def command(output: str, json_file: Path | None, *, quick: bool) -> None:
    """Measure what the mesh costs on this machine, on a private mesh of its own.

    Compare only figures of one run: each variant is measured in turn, on the same machine.
    """
    described = machine()  # before we are a load ourselves
    figures = run(QUICK if quick else FULL)
    document = json.dumps({"machine": described, "figures": [asdict(f) for f in figures]}, indent=2)
    if json_file is not None:
        json_file.write_text(document + "\n")
    click.echo(document if output == "json" else table(figures))


def run(size: dict[str, Any]) -> list[Figure]:
    """Take every measurement, saying on stderr which one is being taken."""
    _say("certificates")
    figures = certificates(size["signing"])
    _say("another root, and many renewals")
    figures += rotation(*size["rotation"])
    _say("propagation to many proxies")
    figures += propagation(size["sizes"])
    _say("from `mutua up` to the first request")
    with private_mesh() as (stage, begin):
        figures += measure.first_request(stage, begin)
        _say("policy propagation")
        figures += measure.enforcement(stage, size["flips"])
        _say("latency and throughput")
        envoy = str(find_envoy(None))
        figures += measure.traffic(stage, envoy, CONCURRENCY, size["rounds"])
        _say("memory")
        figures += measure.memory(stage, size["pods"])
    return figures


def _say(what: str) -> None:
    click.echo(f"  measuring: {what}", err=True)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "cpus": str(os.cpu_count()),
        "architecture": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.2f} (1 minute, before the run; more than 1 disturbs)",
    }


def table(figures: list[Figure]) -> str:
    """Return the figures as aligned columns, each with how it was taken underneath."""
    lines = [f"{'FIGURE':<42} {'VALUE':>10} {'UNIT':<6} {'AIM':<8} HOW"]
    lines += [f"{f.name:<42} {f.value:>10.2f} {f.unit:<6} {f.aim:<8} {f.method}" for f in figures]
    return "\n".join(lines)
