"""What do the pods of a mesh really say to each other?  A packet capture, read as TLS or not.

    python -m mutua.testing.capture NAME STATE RUN

enters the namespaces of a running mesh and prints one JSON line per TCP segment with a payload,
as seen on the node's side of the pods' links, until its standard input is closed:

    {"source": "10.244.0.3:40000", "target": "10.244.0.2:80",
     "says": "server hello", "version": "TLSv1.3"}

`says` is "client hello", "server hello", "tls" or "plaintext".  The version of a ServerHello is
its supported_versions extension's (RFC 8446, section 4.2.1).
"""

import json
import os
import select
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mutua.foundation.layout import Layout
from mutua.runtime.enter import enter_shim

ETH_P_IP: Final = 0x0800
ETHERNET_HEADER: Final = 14
"""Bytes before the IP header on a veth (IEEE 802.3)."""

TLS_HANDSHAKE: Final = 0x16
TLS_RECORDS: Final = range(0x14, 0x18)
"""ContentType values of TLS records (RFC 8446, section 5.1)."""

SUPPORTED_VERSIONS: Final = 43
VERSIONS: Final = {0x0304: "TLSv1.3", 0x0303: "TLSv1.2"}


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment that carries bytes."""

    source: str
    target: str
    says: str
    version: str = ""
    text: str = ""


def read_segment(frame: bytes) -> Segment | None:
    """Read an Ethernet frame; None unless it is IPv4 TCP with a payload."""
    packet = frame[ETHERNET_HEADER:]
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    header = (packet[0] & 0x0F) * 4
    total = int.from_bytes(packet[2:4])
    tcp = packet[header:total]
    source_port, target_port = struct.unpack("!HH", tcp[:4])
    payload = tcp[(tcp[12] >> 4) * 4 :]
    if not payload:
        return None
    source = f"{socket.inet_ntoa(packet[12:16])}:{source_port}"
    target = f"{socket.inet_ntoa(packet[16:20])}:{target_port}"
    return classify(source, target, payload)


def classify(source: str, target: str, payload: bytes) -> Segment:
    """Say what the first bytes of a segment are."""
    if payload[0] not in TLS_RECORDS or payload[1:2] != b"\x03":
        text = payload[:40].decode("ascii", errors="replace")
        return Segment(source, target, "plaintext", text=text)
    if payload[0] == TLS_HANDSHAKE and payload[5:6] == b"\x01":
        return Segment(source, target, "client hello")
    if payload[0] == TLS_HANDSHAKE and payload[5:6] == b"\x02":
        return Segment(source, target, "server hello", server_hello_version(payload[9:]))
    return Segment(source, target, "tls")


def server_hello_version(hello: bytes) -> str:
    """Return the version a ServerHello selects (RFC 8446, section 4.1.3)."""
    selected = int.from_bytes(hello[:2])
    at = 2 + 32
    at += 1 + hello[at]  # legacy_session_id_echo
    at += 2 + 1  # cipher_suite, legacy_compression_method
    end = at + 2 + int.from_bytes(hello[at : at + 2])
    at += 2
    while at + 4 <= min(end, len(hello)):
        kind, length = struct.unpack("!HH", hello[at : at + 4])
        if kind == SUPPORTED_VERSIONS:
            selected = int.from_bytes(hello[at + 4 : at + 6])
        at += 4 + length
    return VERSIONS.get(selected, hex(selected))


def main() -> None:
    """Capture until standard input ends."""
    name, state, run = sys.argv[1:]
    enter_shim(Layout(name, Path(state), Path(run)))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as capture:
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        asked_to_end = False
        while True:
            waiting = [capture] if asked_to_end else [capture, sys.stdin]
            ready, _, _ = select.select(waiting, [], [], 0 if asked_to_end else None)
            if capture in ready:
                if (segment := read_segment(capture.recv(65536))) is not None:
                    sys.stdout.write(json.dumps(asdict(segment)) + "\n")
            elif asked_to_end:
                return  # everything that had arrived by then is reported
            elif not os.read(sys.stdin.fileno(), 1):
                asked_to_end = True


if __name__ == "__main__":
    main()
