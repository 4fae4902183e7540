"""What do the commands say when the API cannot be spoken to?"""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutua.api.object import PODS
from mutua.cli.client import connect, list_objects
from mutua.cli.settings import resolve_layout
from mutua.foundation.errors import Unavailable
from mutua.foundation.layout import Layout


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which the first bytes are answered in plaintext."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_answer_once, args=(listener,))
        server.start()
        yield listener.getsockname()[1]
        server.join()


def _answer_once(listener: socket.socket) -> None:
    listener.settimeout(60)
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


def _layout(folder: Path, port: int) -> Layout:
    environ = {"MUTUA_NAME": "t", "MUTUA_STATE_DIR": str(folder)}
    layout = resolve_layout(None, None, environ=environ, uid=0)
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "t",
        "clusters": [{"name": "t", "cluster": cluster}],
        "users": [{"name": "t", "user": {}}],
        "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
    }
    layout.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    layout.kubeconfig.write_text(json.dumps(config))
    return layout


def test_a_failed_handshake_is_not_reported_as_a_stopped_mesh(tmp_path: Path, port: int) -> None:
    with (
        pytest.raises(Unavailable, match="not in TLS"),
        connect(_layout(tmp_path, port)) as client,
    ):
        list_objects(client, PODS)


def test_a_refused_connection_is_reported_as_a_stopped_mesh(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and nobody else listens there meanwhile
        with (
            pytest.raises(Unavailable, match="is not running"),
            connect(_layout(tmp_path, silent.getsockname()[1])) as client,
        ):
            list_objects(client, PODS)
