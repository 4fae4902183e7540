"""Connections that last: programs for pods, and what their logs tell.

`SERVER` answers on three ports, `CLIENT` holds connections of four kinds to it and says in its log
when one begins and when it ends.  A client begins anew as soon as a connection ended.

    h1     8080   an HTTP/1.1 answer without an end
    h2     9090   one gRPC call after the other: HTTP/2
    grpc   9090   a gRPC stream without an end
    tcp    7070   a raw TCP connection on which the server speaks every tenth of a second
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("h1", "h2", "grpc", "tcp")

SERVER: Final = """
import http.server, socketserver, threading, time
from concurrent import futures
import grpc
TICK = 0.1
class Endless(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"1\\r\\n.\\r\\n")
            self.wfile.flush()
            time.sleep(TICK)
class Ticker(socketserver.BaseRequestHandler):
    def handle(self):
        while True:
            self.request.sendall(b".")
            time.sleep(TICK)
class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    def handle_error(self, *_): pass
class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
    def handle_error(self, *_): pass
def ticks(_request, context):
    while context.is_active():
        yield b"."
        time.sleep(TICK)
plain = dict(request_deserializer=None, response_serializer=None)
handlers = grpc.method_handlers_generic_handler("test.Ticks", {
    "Stream": grpc.unary_stream_rpc_method_handler(ticks, **plain),
    "Once": grpc.unary_unary_rpc_method_handler(lambda _request, _context: b".", **plain)})
server = grpc.server(futures.ThreadPoolExecutor(400))
server.add_generic_rpc_handlers((handlers,))
server.add_insecure_port("0.0.0.0:9090")
server.start()
threading.Thread(target=Web(("0.0.0.0", 8080), Endless).serve_forever).start()
Tcp(("0.0.0.0", 7070), Ticker).serve_forever()
"""

CLIENT: Final = """
import http.client, json, socket, sys, threading, time
import grpc
host, count, kinds = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(",")
lock = threading.Lock()
def say(kind, number, what):
    with lock:
        line = {"kind": kind, "number": number, "what": what, "at": time.time()}
        print(json.dumps(line), flush=True)
def h1():
    c = http.client.HTTPConnection(host, 8080, timeout=20)
    try:
        c.request("GET", "/")
        a = c.getresponse()
        if a.status != 200:
            raise OSError(a.status)
        yield
        while a.read(1):
            pass
    finally:
        c.close()
def tcp():
    with socket.create_connection((host, 7070), 5) as s:
        s.settimeout(20)
        if not s.recv(1):
            raise OSError("closed")
        yield
        while s.recv(4096):
            pass
def channel():
    return grpc.insecure_channel(host + ":9090", [("grpc.use_local_subchannel_pool", 1)])
def h2():
    with channel() as c:
        call = c.unary_unary("/test.Ticks/Once")
        call(b"", timeout=20)
        yield
        while True:
            call(b"", timeout=20)
            time.sleep(0.05)
def stream():
    with channel() as c:
        answers = iter(c.unary_stream("/test.Ticks/Stream")(b"", timeout=3600))
        next(answers)
        yield
        for _ in answers:
            pass
def hold(kind, number):
    how = {"h1": h1, "h2": h2, "grpc": stream, "tcp": tcp}[kind]
    while True:
        try:
            for _ in how():
                say(kind, number, "begun")
        except Exception as error:
            error = error
        say(kind, number, "ended")
        time.sleep(0.2)
for kind in kinds:
    for number in range(count):
        threading.Thread(target=hold, args=(kind, number)).start()
"""


@dataclass(frozen=True, slots=True)
class Lasting:
    """One connection of a client.

    Attributes:
        kind: One of `KINDS`.
        number: Which of that kind.
        begun: When it was begun, as the client's clock says, in seconds since 1970.
        ended: When it ended, None while it is open.
    """

    kind: str
    number: int
    begun: float
    ended: float | None = None


def read_log(text: str) -> list[Lasting]:
    """Return the connections that a client's log tells of, in the order in which they began."""
    begun: dict[tuple[str, int], float] = {}
    found = []
    for line in text.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        key = (said["kind"], said["number"])
        if said["what"] == "begun":
            begun[key] = said["at"]
        elif key in begun:
            found.append(Lasting(*key, begun.pop(key), said["at"]))
    found += [Lasting(*key, at) for key, at in begun.items()]
    return sorted(found, key=lambda one: one.begun)


def open_now(lasting: Iterable[Lasting]) -> list[Lasting]:
    """Return those that are open."""
    return [one for one in lasting if one.ended is None]


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


PROGRAMS: Final = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio-injection: enabled}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: shop}}
spec: {{mtls: {{mode: STRICT}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: programs, namespace: shop}}
data:
  server.py: |
{_indented(SERVER)}
  client.py: |
{_indented(CLIENT)}
"""
"""A namespace in STRICT mode with both programs."""


def server(name: str) -> str:
    """Return the manifest of a server with a Service and an account of its own."""
    return f"""
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: shop}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{app: {name}}}
  ports:
  - {{name: http, port: 8080}}
  - {{name: grpc, port: 9090}}
  - {{name: tcp, port: 7070}}
{_deployment(name, '"/p/server.py"', "readinessProbe: {tcpSocket: {port: 7070}, periodSeconds: 1}")}
"""


def client(name: str, host: str, count: int = 1, kinds: Iterable[str] = KINDS) -> str:
    """Return the manifest of a client with an account of its own."""
    argv = f'"/p/client.py", "{host}", "{count}", "{",".join(kinds)}"'
    return f"""
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: shop}}
{_deployment(name, argv)}
"""


def _deployment(name: str, argv: str, more: str = "") -> str:
    return f"""---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      serviceAccountName: {name}
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: x
        command: [python3, {argv}]
        volumeMounts: [{{name: p, mountPath: /p}}]
        {more}
      volumes: [{{name: p, configMap: {{name: programs}}}}]
"""
