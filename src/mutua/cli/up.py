"""`mutua up`: start the mesh of this machine, and say what to type next.

What must happen in the caller's own network happens here: the listener of the API is bound to the
host's loopback before the daemon enters its private namespaces.  Everything else is the daemon's.
"""

import os
import shlex
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click

from mutua.cli import lock
from mutua.cli.data_key import data_key_for_start
from mutua.cli.duration import parse_duration
from mutua.cli.main import layout_of, mesh_options
from mutua.cli.serving import Start, serve_here, start_daemon
from mutua.cli.settings import create_directories
from mutua.cluster.settings import DaemonSettings
from mutua.foundation.errors import Rejected, Unavailable
from mutua.foundation.layout import Layout

LOOPBACK: Final = "127.0.0.1"

PACKAGE: Final = Path(__file__).parents[2]
"""The folder from which `mutua` is imported."""

SHORTEST_TTL: Final = timedelta(seconds=10)
"""A certificate is renewed at its half-life, and the agent looks at the clock every second."""

LONGEST_TTL: Final = timedelta(days=90)
"""Source: istio MAX_WORKLOAD_CERT_TTL."""

LOG_LEVELS: Final = ["debug", "info", "warning", "error"]


@click.command()
@mesh_options
@click.option("--foreground", is_flag=True, help="Stay attached; Ctrl-C stops the mesh.")
@click.option(
    "--api-port", type=click.IntRange(1, 65535), help="Port of the API; default: any free."
)
@click.option("--envoy", type=click.Path(dir_okay=False, path_type=Path), help="Run this Envoy.")
@click.option("--trust-domain", default="", help="Of a new mesh; default: cluster.local.")
@click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="Passphrase of the keys at rest: the first line of a file that only you may read.",
)
@click.option(
    "--kms-command",
    default="",
    help="Of a new mesh: `CMD wrap` and `CMD unwrap` keep the key of the keys at rest.",
)
@click.option(
    "--workload-cert-ttl",
    metavar="TIME",
    default="",
    help="How long workload certificates live, from 10s to 90d; default: 24h.",
)
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True)
@click.option(
    "--timeout", type=click.FloatRange(1), default=60.0, show_default=True, help="Seconds."
)
def command(
    name: str | None,
    state_dir: str | None,
    api_port: int | None,
    timeout: float,
    passphrase_file: Path | None,
    kms_command: str,
    *,
    foreground: bool,
    **options: Any,
) -> None:
    """Start the mesh of this machine.

    One daemon: Kubernetes-style API, certificate authority, Envoy control plane, and the node
    that runs pods as processes.  Needs no root.
    """
    layout = layout_of(name, state_dir)
    settings = _settings(layout, **options)
    create_directories(layout, uid=os.getuid())
    lock_fd = lock.acquire(layout)
    data_key = data_key_for_start(layout, passphrase_file=passphrase_file, kms_command=kms_command)
    start = Start(settings, listen(layout, api_port), lock_fd, data_key)
    if foreground:
        sys.exit(serve_here(start))
    ready = start_daemon(start, timeout)
    click.echo(f"mesh {layout.name!r} is up, API at {ready.get('server', '')}", err=True)
    flags = "" if (name, state_dir) == (None, None) else _flags(name, state_dir)
    click.echo(
        f"next:  mutua shell{flags}        a shell in which kubectl speaks to it\n"
        f"       mutua status{flags}       what runs, which mTLS mode is in force\n"
        f"       mutua down{flags}         stop it",
        err=True,
    )


def _flags(name: str | None, state_dir: str | None) -> str:
    pairs = (("--name", name), ("--state-dir", state_dir))
    return "".join(f" {flag} {shlex.quote(value)}" for flag, value in pairs if value)


def _settings(
    layout: Layout,
    *,
    envoy: Path | None,
    trust_domain: str,
    workload_cert_ttl: str,
    log_level: str,
) -> DaemonSettings:
    if envoy is not None and not os.access(envoy, os.X_OK):
        raise Rejected(f"--envoy: {envoy} is not an executable file")
    search = [
        str(Path(sys.executable).parent),
        *os.environ.get("PATH", os.defpath).split(os.pathsep),
    ]
    return DaemonSettings(
        layout=layout,
        python=sys.executable,
        visible=tuple(dict.fromkeys((sys.prefix, sys.base_prefix, str(PACKAGE)))),
        path=os.pathsep.join(dict.fromkeys(filter(None, search))),
        envoy=str(envoy.absolute()) if envoy else "",
        trust_domain=trust_domain,
        log_level=log_level.upper(),
        workload_cert_ttl=parse_ttl(workload_cert_ttl).total_seconds() if workload_cert_ttl else 0,
    )


def parse_ttl(text: str) -> timedelta:
    """Read how long workload certificates live.

    Raises:
        Rejected: It is no time, or one that no certificate may have.
    """
    try:
        ttl = parse_duration(text)
    except Rejected as error:
        raise Rejected(f"--workload-cert-ttl: {error}") from error
    if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        raise Rejected(f"--workload-cert-ttl: {text} is not between 10s and 90d")
    return ttl


def listen(layout: Layout, port: int | None) -> socket.socket:
    """Bind the API's listener on the host's loopback: the asked port, else the last one, else any.

    Raises:
        Unavailable: The asked port is taken.
    """
    memory = layout.state / "api-port"
    remembered = memory.read_text().strip() if memory.exists() else ""
    candidates = [port] if port else [int(remembered) if remembered.isdigit() else 0, 0]
    for candidate in candidates:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, candidate))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if port or candidate == 0:
                raise Unavailable(
                    f"cannot listen on {LOOPBACK}:{candidate or '(any port)'}: {error.strerror}",
                    hint="choose another port with --api-port, or leave it out",
                ) from error
            continue
        memory.write_text(f"{listener.getsockname()[1]}\n")
        return listener
    raise AssertionError("the last candidate either listens or raises")
