import pytest

from mutua.model.service import Protocol, port_protocol

# fmt: off
TABLE = [
    # number name           appProtocol           transport
    (80,     "http",        "",                   "TCP", Protocol.HTTP),
    (80,     "http-web",    "",                   "TCP", Protocol.HTTP),
    (80,     "HTTP-web",    "",                   "TCP", Protocol.HTTP),
    (80,     "httpx",       "",                   "TCP", Protocol.AUTO),
    (80,     "grpc-api",    "",                   "TCP", Protocol.GRPC),
    (80,     "grpc-web-ui", "",                   "TCP", Protocol.GRPC_WEB),
    (80,     "tcp-x",       "http",               "TCP", Protocol.HTTP),
    (80,     "http",        "kubernetes.io/h2c",  "TCP", Protocol.HTTP2),
    (80,     "http",        "kubernetes.io/wss",  "TCP", Protocol.HTTPS),
    (80,     "http",        "something.io/else",  "TCP", Protocol.AUTO),
    (80,     "http",        "",                   "UDP", Protocol.UDP),
    (80,     "",            "",                   "TCP", Protocol.AUTO),
    (3306,   "",            "",                   "TCP", Protocol.TCP),
    (3306,   "http",        "",                   "TCP", Protocol.HTTP),
    (5000,   "mongo-main",  "",                   "TCP", Protocol.MONGO),
    (80,     "grpc-web",    "",                   "TCP", Protocol.GRPC_WEB),
    (80,     "tcp-x",       "kubernetes.io/ws",   "TCP", Protocol.HTTP),
    (80,     "tcp-x",       "http-foo",           "TCP", Protocol.HTTP),
    (80,     "tcp-x",       "HTTP2-foo",          "TCP", Protocol.HTTP2),
    (80,     "tcp-x",       "grpc-web",           "TCP", Protocol.GRPC_WEB),
    (80,     "tcp-x",       "grpc-web-foo",       "TCP", Protocol.GRPC_WEB),
    (80,     "kubernetes.io/ws", "",              "TCP", Protocol.AUTO),
    (25,     "",            "",                   "TCP", Protocol.TCP),
    (53,     "dns",         "",                   "TCP", Protocol.TCP),
    (27017,  "",            "something.io/else",  "TCP", Protocol.TCP),
    (27017,  "http-x",      "",                   "TCP", Protocol.HTTP),
]
# fmt: on


@pytest.mark.parametrize(("number", "name", "app_protocol", "transport", "expected"), TABLE)
def test_what_a_port_speaks(
    number: int, name: str, app_protocol: str, transport: str, expected: Protocol
) -> None:
    actual = port_protocol(number, name=name, app_protocol=app_protocol, transport=transport)

    assert actual is expected
