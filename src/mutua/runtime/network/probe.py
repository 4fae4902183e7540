"""Is the application alive?  The kubelet's HTTP and TCP probes, as sockets see them.

A probe takes an unconnected socket, because where the socket lives decides what the probe means:

    node_socket()              from the node, as Kubernetes does: for pods without a sidecar
    await pod_socket(net, uid) from inside the pod, source 127.0.0.6: past the capture rules and
                               past STRICT, what Istio's rewritten probes achieve with an agent

Sources: kubernetes pkg/probe/http and pkg/probe/tcp; semantics section 2.8.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from mutua.runtime.network.capture import HANDOVER_ADDRESS
from mutua.runtime.network.node import NodeNetwork

USER_AGENT: Final = "kube-probe/1.33"
"""What applications that special-case probes look for."""

MAX_HEAD: Final = 16 * 1024
"""Bytes of a response's first line and headers that are read; the body is not."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of one probe.

    Attributes:
        success: Whether the application answered as it should.
        message: Why not, in the kubelet's words; "" on success.
    """

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """What to ask for.

    Attributes:
        address: IPv4 address to connect to.
        port: TCP port.
        path: Path and query.
        scheme: "http", or "https" (the certificate is not checked, as in the kubelet).
        headers: Extra headers; Host, User-Agent and Accept replace the default ones.
    """

    address: str
    port: int
    path: str = "/"
    scheme: Literal["http", "https"] = "http"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The target as messages show it."""
        return f"{self.scheme}://{self.address}:{self.port}{_rooted(self.path)}"


def node_socket() -> socket.socket:
    """Return a TCP socket in the caller's network namespace."""
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


async def pod_socket(network: NodeNetwork, uid: str) -> socket.socket:
    """Return a TCP socket inside a pod that its capture rules let pass."""
    sock = await network.socket(uid, "tcp")
    try:
        sock.bind((HANDOVER_ADDRESS, 0))
    except OSError:
        sock.close()
        raise
    return sock


async def tcp_probe(sock: socket.socket, address: str, port: int, within: float) -> ProbeResult:
    """Probe by connecting.

    Args:
        sock: An unconnected socket; closed before this returns.
        address: IPv4 address.
        port: TCP port.
        within: Seconds it may take.
    """
    with sock:
        try:
            async with asyncio.timeout(within):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except TimeoutError:
            return ProbeResult(success=False, message=f"dial tcp {address}:{port}: i/o timeout")
        except OSError as error:
            return ProbeResult(success=False, message=_dial_failure(address, port, error))
    return ProbeResult(success=True)


async def http_probe(sock: socket.socket, target: HttpTarget, within: float) -> ProbeResult:
    """Probe with a GET; 200 to 399 is success.

    Redirects are not followed: the application that sends one is alive.

    Args:
        sock: An unconnected socket; closed before this returns.
        target: What to ask for.
        within: Seconds everything together may take.
    """
    with sock:
        try:
            async with asyncio.timeout(within):
                status = await _get(sock, target)
        except TimeoutError:
            reason = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return ProbeResult(success=False, message=f'Get "{target.url}": {reason}')
        except (OSError, EOFError, ValueError) as error:
            reason = _reason(target, error)
            return ProbeResult(success=False, message=f'Get "{target.url}": {reason}')
    if 200 <= status < 400:
        return ProbeResult(success=True)
    return ProbeResult(success=False, message=f"HTTP probe failed with statuscode: {status}")


async def _get(sock: socket.socket, target: HttpTarget) -> int:
    """Return the status code of the response.

    Raises:
        ValueError: The response is not HTTP.
    """
    await asyncio.get_running_loop().sock_connect(sock, (target.address, target.port))
    context = _unchecked() if target.scheme == "https" else None
    name = target.address if context else None
    reader, writer = await asyncio.open_connection(
        sock=sock, ssl=context, server_hostname=name, limit=MAX_HEAD
    )
    try:
        writer.write(_request(target))
        line = await reader.readline()
    finally:
        writer.transport.abort()
        with suppress(OSError):  # the answer is in already
            await writer.wait_closed()
    if not line:
        raise EOFError
    return _status(line)


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _request(target: HttpTarget) -> bytes:
    given = {name.lower() for name in target.headers}
    host = f"{target.address}:{target.port}"
    defaults = {"Host": host, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    headers = {name: value for name, value in defaults.items() if name.lower() not in given}
    lines = [f"GET {_rooted(target.path)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (headers | dict(target.headers)).items()]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header or the path contains a line break")
    return "\r\n".join([*lines, "", ""]).encode()


def _rooted(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _status(line: bytes) -> int:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or len(code) != 3 or not code.isdigit():
        raise ValueError(f"malformed HTTP response {line[:60]!r}")
    return int(code)


def _reason(target: HttpTarget, error: Exception) -> str:
    if isinstance(error, EOFError):
        return "EOF"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return _dial_failure(target.address, target.port, error)
    return str(error)


def _dial_failure(address: str, port: int, error: OSError) -> str:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    step = "read" if isinstance(error, (ConnectionResetError, BrokenPipeError)) else "connect"
    return f"dial tcp {address}:{port}: {step}: {reason}"
