"""ServiceEntries with real pods: who is called how, by which name, at which address."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh, eventually

# Answers HTTP with its name and the request's headers, anything else with its name; with a second
# argument inside TLS.
SERVER = """
import json, os, socketserver, ssl, sys
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            if not line.rstrip().endswith(b"HTTP/1.1"):
                self.wfile.write(sys.argv[1].encode() + b"\\n")
                continue
            headers = {"server": os.uname().nodename + " " + sys.argv[1]}
            while (line := self.rfile.readline().decode().strip()):
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
            body = json.dumps(headers).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body))
            self.wfile.write(body)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    def handle_error(self, *_): pass
server = Server(("0.0.0.0", int(sys.argv[1])), Answer)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

# Makes each call of a JSON list and prints the answers, None for what fails.
CLIENT = """
import http.client, json, socket, ssl, sys
def call(kind, host, port, at=None):
    at = at or host
    if kind == "name":
        return socket.gethostbyname(host)
    if kind == "http":
        connection = http.client.HTTPConnection(at, port, timeout=10)
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else answer.status
    with socket.create_connection((at, port), 10) as plain:
        if kind == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            plain = context.wrap_socket(plain, server_hostname=host)
        plain.sendall(b"hello\\n")
        return plain.makefile().readline().strip() or None
answers = []
for one in json.loads(sys.argv[1]):
    try:
        answers.append(call(*one))
    except OSError as error:
        answers.append(None)
print(json.dumps(answers))
"""

CLIENT_ID = "URI=spiffe://cluster.local/ns/shop/sa/client"


def pod(name: str, namespace: str = "shop", *, meshed: bool = True, serve: str = "") -> Any:
    container: dict[str, Any] = {
        "name": "c",
        "image": "curl",
        "volumeMounts": [{"name": "p", "mountPath": "/p"}],
    }
    if serve:
        container["command"] = ["sh", "-c", serve]
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, "sidecar.istio.io/inject": str(meshed).lower()},
        },
        "spec": {
            "serviceAccountName": name,
            "containers": [container],
            "volumes": [{"name": "p", "configMap": {"name": "programs"}}],
        },
    }


def named(kind: str, name: str, namespace: str = "", **fields: Any) -> Any:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def entry(name: str, namespace: str = "shop", labels: Any = None, **spec: Any) -> Any:
    ports = [
        {"name": "http", "number": 80, "protocol": "HTTP", "targetPort": 8080},
        {"name": "tcp", "number": 9000, "protocol": "TCP", "targetPort": 8081},
        {"name": "any", "number": 9001, "targetPort": 8082},
    ]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": {"hosts": [f"{name}.example"], "resolution": "STATIC", "ports": ports, **spec},
    }


def apply(mesh: RunningMesh, *objects: Any) -> None:
    mesh.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture(scope="module")
def shop(mesh: RunningMesh) -> Iterator[RunningMesh]:
    openssl = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=x"
    done = subprocess.run(
        [*openssl.split(), "-keyout", "-"], capture_output=True, text=True, check=True
    )
    programs = {"server.py": SERVER, "client.py": CLIENT, "server.pem": done.stdout}
    plain = "python3 /p/server.py 8081 & python3 /p/server.py 8082 & exec python3 /p/server.py 8080"
    tls = "python3 /p/server.py 8443 /p/server.pem & python3 /p/server.py 9443 /p/server.pem"
    ports = [{"name": f"p{number}", "port": number} for number in (8080, 8081, 8082)]
    apply(
        mesh,
        *(named("Namespace", name) for name in ("shop", "bank")),
        *(named("ConfigMap", "programs", name, data=programs) for name in ("shop", "bank")),
        *(
            named("ServiceAccount", name, "shop")
            for name in ("client", "bare", "inside", "outside")
        ),
        named("ServiceAccount", "neighbour", "bank"),
        pod("client"),
        pod("bare", meshed=False),
        pod("neighbour", "bank"),
        pod("inside", serve=plain),
        pod("outside", meshed=False, serve=f"{tls} & {plain}"),
        named("Service", "outside", "shop", spec={"selector": {"app": "outside"}, "ports": ports}),
        named("PeerAuthentication", "default", "shop", spec={"mtls": {"mode": "STRICT"}})
        | {"apiVersion": "security.istio.io/v1"},
    )
    for namespace in ("shop", "bank"):
        ready = ("--for=condition=Ready", "pod", "--all", "--timeout=60s")
        mesh.kubectl("wait", *ready, "-n", namespace)
    mesh.kubectl("wait", "--for=condition=InForce", "pa/default", "-n", "shop", "--timeout=60s")
    yield mesh
    assert "xds resource refused" not in mesh.daemon_log()


@pytest.fixture(scope="module")
def inside(shop: RunningMesh) -> str:
    return str(shop.get("pod", "inside", "-n", "shop")["status"]["podIP"])


@pytest.fixture(scope="module")
def outside(shop: RunningMesh) -> str:
    return str(shop.get("pod", "outside", "-n", "shop")["status"]["podIP"])


def call(mesh: RunningMesh, pod: str, *calls: tuple[Any, ...]) -> list[Any]:
    """Return what a pod gets for each (kind, host, port, address to dial instead of the host).

    Of an HTTP answer, who gave it and whether the client's identity had arrived with the request.
    """
    namespace = "bank" if pod == "neighbour" else "shop"
    argv = ("exec", "-n", namespace, pod, "-c", "c", "--", "python3", "/p/client.py")
    return [*map(_short, json.loads(mesh.kubectl(*argv, json.dumps(calls)).stdout))]


def _short(answer: Any) -> Any:
    if not isinstance(answer, dict):
        return answer
    certificate = answer.get("x-forwarded-client-cert", "")
    return f"{answer['server']} {'mutual' if CLIENT_ID in certificate else 'plain'}"


def expect(mesh: RunningMesh, pod: str, calls: Any, expected: list[Any]) -> None:
    """Wait until a pod gets these answers: the proxies may not know yet what was applied."""
    answers: list[Any] = []

    def probe() -> bool:
        answers[:] = call(mesh, pod, *calls)
        return answers == expected

    try:
        eventually(probe, f"{pod} gets {expected}")
    except AssertionError as error:
        raise AssertionError(f"{error}, but {answers}") from None


def all_ports(host: str) -> tuple[tuple[Any, ...], ...]:
    return ("http", host, 80), ("tcp", host, 9000), ("http", host, 9001), ("tcp", host, 9001)


def answers_of(server: str, how: str) -> list[Any]:
    return [f"{server} 8080 {how}", "8081", f"{server} 8082 {how}", "8082"]


REFUSED = [503, None, 503, None]


def test_endpoints_that_have_a_sidecar_are_called_with_mutual_tls(
    shop: RunningMesh, inside: str
) -> None:
    label = {"security.istio.io/tlsMode": "istio"}
    mine, other = (f"spiffe://cluster.local/ns/shop/sa/{name}" for name in ("inside", "other"))
    here = {"location": "MESH_INTERNAL"}
    labelled = {"endpoints": [{"address": inside, "labels": label}], **here}
    accounted = {"endpoints": [{"address": inside, "serviceAccount": "inside"}]}
    apply(
        shop,
        entry("account", **accounted, **here),
        entry("label", **labelled, subjectAltNames=[mine]),
        entry("selected", workloadSelector={"labels": {"app": "inside"}}, **here),
        entry("impostor", **labelled, subjectAltNames=[other]),
        entry("unlabelled", endpoints=[{"address": inside}], **here),
        entry("external", **accounted),
    )

    for name in ("account", "label", "selected"):
        expect(shop, "client", all_ports(f"{name}.example"), answers_of("inside", "mutual"))
    for name in ("impostor", "unlabelled", "external"):
        # The client refuses a server that is somebody else; STRICT refuses plaintext.
        expect(shop, "client", all_ports(f"{name}.example"), REFUSED)


def test_what_is_outside_is_called_as_it_is(shop: RunningMesh, outside: str) -> None:
    service = {"endpoints": [{"address": "outside.shop.svc.cluster.local"}]}
    apply(
        shop,
        entry("static", location="MESH_EXTERNAL", endpoints=[{"address": outside}]),
        entry("dns", resolution="DNS", **service),
        entry("round-robin", resolution="DNS_ROUND_ROBIN", **service),
    )

    for name in ("static", "dns", "round-robin"):
        expect(shop, "client", all_ports(f"{name}.example"), answers_of("outside", "plain"))


def test_resolution_none_goes_where_the_client_was_going(shop: RunningMesh, outside: str) -> None:
    ports = [{"name": "http", "number": 8080, "protocol": "HTTP"}]
    apply(shop, entry("none", resolution="NONE", addresses=[outside], ports=ports))

    expect(shop, "client", [("name", "none.example", 0)], [outside])
    expect(shop, "client", [("http", "none.example", 8080)], ["outside 8080 plain"])
    assert requests_to(shop, "outbound|8080||none.example") > 0


def test_wildcards_and_networks(shop: RunningMesh, outside: str) -> None:
    ports = [
        {"name": "http", "number": 8080, "protocol": "HTTP"},
        {"name": "tls", "number": 8443, "protocol": "TLS"},
    ]
    many = {"hosts": ["*.wild.example"], "ports": ports, "resolution": "NONE"}
    network = {"addresses": ["198.51.100.7/24"], "endpoints": [{"address": outside}]}
    apply(shop, entry("wild", addresses=[outside], **many), entry("network", **network))

    expect(
        shop,
        "client",
        [
            ("http", "a.wild.example", 8080),
            ("tls", "a.b.wild.example", 8443),
            ("name", "wild.example", 0),
            ("tcp", "198.51.100.99", 9000),
            ("http", "network.example", 9001, "198.51.100.99"),
            ("name", "network.example", 0),
        ],
        ["outside 8080 plain", "8443", None, "8081", "outside 8082 plain", None],
    )
    assert requests_to(shop, "outbound|8080||*.wild.example") > 0


def requests_to(mesh: RunningMesh, cluster: str) -> int:
    """Return how many requests the client's proxy has sent to a cluster."""
    argv = ("exec", "-n", "shop", "client", "-c", "istio-proxy", "--", "curl", "-s")
    said = mesh.kubectl(*argv, "http://127.0.0.1:15000/clusters").stdout
    lines = (line for line in said.splitlines() if line.startswith(f"{cluster}::"))
    return sum(int(line.rpartition("::")[2]) for line in lines if "::rq_total::" in line)


def test_tls_goes_by_server_name(shop: RunningMesh, outside: str) -> None:
    def secure(name: str, port: int, kind: str = "TLS", *, allocate: bool = True) -> Any:
        https = {"name": "https", "number": 443, "protocol": kind, "targetPort": port}
        labels = {} if allocate else {"networking.istio.io/enable-autoallocate-ip": "false"}
        place = {"address": outside}
        return entry(name, labels=labels, ports=[https], endpoints=[place])

    apply(
        shop,
        secure("tls", 8443),
        secure("one", 8443, allocate=False),
        secure("two", 9443, "HTTPS", allocate=False),
    )

    unknown = "192.0.2.1"
    expect(
        shop,
        "client",
        [
            ("tls", "tls.example", 443),
            ("tls", "one.example", 443, unknown),
            ("tls", "two.example", 443, unknown),
            ("tls", "three.example", 443, unknown),
        ],
        ["8443", "8443", "9443", None],
    )


def test_an_allocated_address_is_for_pods_with_a_sidecar(shop: RunningMesh, outside: str) -> None:
    apply(shop, entry("api", endpoints=[{"address": outside}]))
    address = eventually(lambda: given(shop, "api"), "an address").pop()

    for pod in ("client", "bare", "neighbour"):
        expect(shop, pod, [("name", "api.example", 0)], [address])
    expect(shop, "bare", [("tcp", "api.example", 9000)], [None])
    row = shop.kubectl("get", "se", "api", "-n", "shop", "--no-headers").stdout.split()
    assert row[:3] == ["api", '["api.example"]', "STATIC"]

    shop.kubectl("delete", "se", "api", "-n", "shop")

    expect(shop, "bare", [("name", "api.example", 0)], [None])


def given(mesh: RunningMesh, name: str, namespace: str = "shop") -> list[str]:
    status = mesh.get("se", name, "-n", namespace).get("status") or {}
    return [one["value"] for one in status.get("addresses") or ()]


def test_who_sees_an_entry_and_which_one_of_two(shop: RunningMesh, outside: str) -> None:
    there = {"endpoints": [{"address": outside}]}
    other = [{"name": "http", "number": 80, "protocol": "HTTP", "targetPort": 8082}]
    other += [{"name": "tcp", "number": 9000, "protocol": "TCP", "targetPort": 8082}]
    apply(shop, entry("private", exportTo=["."], **there), entry("both", **there))
    apply(shop, entry("both", "bank", ports=other, **there))

    expect(shop, "client", all_ports("private.example"), answers_of("outside", "plain"))
    expect(shop, "neighbour", all_ports("private.example")[:2], [503, None])
    both = all_ports("both.example")[:2]
    expect(shop, "client", both, ["outside 8080 plain", "8081"])
    expect(shop, "neighbour", both, ["outside 8082 plain", "8082"])
    eventually(
        lambda: [] != given(shop, "both") == given(shop, "both", "bank"), "both have one address"
    )
