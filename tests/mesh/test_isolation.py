"""What a program in a meshed pod cannot see, reach or change, in a real mesh.

`tests/netns/containers/test_isolation.py` tries single containers; this is about what only a whole
mesh has: the daemon's surfaces, a live proxy next door, keys, another pod.
"""

import json
import textwrap
from typing import Any

import pytest

from mutua.testing.running_mesh import RunningMesh

ATTEMPTS = """
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def why(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
def call(name, *arguments):
    return "ok" if getattr(libc, name)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
def tell(value):
    print(json.dumps(value))
def connect(host, port, source=""):
    with socket.socket() as s:
        s.settimeout(2)
        if source:
            s.bind((source, 0))
        s.connect((host, port))
"""

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: cell, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Secret
metadata: {name: private, namespace: cell}
stringData: {word: the-neighbours-secret}
---
apiVersion: v1
kind: Pod
metadata: {name: attacker, namespace: cell}
spec:
  containers:
  - name: app
    image: x
    command: [sh, -c, "cat /proc/self/status; exec sleep infinity"]
---
apiVersion: v1
kind: Pod
metadata: {name: victim, namespace: cell}
spec:
  containers:
  - name: app
    image: x
    command: [sh, -c, "echo mine > /tmp/victims-file; exec python3 -m http.server 8080 -b 0.0.0.0"]
    env: [{name: WORD, valueFrom: {secretKeyRef: {name: private, key: word}}}]
    volumeMounts: [{name: private, mountPath: /etc/private}]
  volumes: [{name: private, secret: {secretName: private}}]
"""


@pytest.fixture(scope="module")
def cell(mesh: RunningMesh) -> RunningMesh:
    mesh.apply(MANIFEST)
    mesh.kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", "cell", "--timeout=60s")
    return mesh


def attack(mesh: RunningMesh, code: str, *arguments: str) -> Any:
    """Run Python in the attacker's application container; return what it tells."""
    argv = ("exec", "-i", "-n", "cell", "attacker", "-c", "app", "--", "python3", "-", *arguments)
    done = mesh.kubectl(*argv, stdin=ATTEMPTS + textwrap.dedent(code), timeout=240)
    return json.loads(done.stdout)


def victim_ip(mesh: RunningMesh) -> str:
    return str(mesh.get("pod", "victim", "-n", "cell")["status"]["podIP"])


def test_the_main_program_and_an_executed_one_hold_nothing(cell: RunningMesh) -> None:
    log = cell.kubectl("logs", "-n", "cell", "attacker", "-c", "app").stdout
    executed = cell.kubectl(
        "exec", "-n", "cell", "attacker", "-c", "app", "--", "cat", "/proc/self/status"
    ).stdout

    for status in (log, executed):
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert {v for k, v in fields.items() if k.startswith("Cap")} == {"0" * 16}
        assert fields["NoNewPrivs"] == "1"


def test_it_sees_only_its_own_processes_and_reads_no_others_memory(cell: RunningMesh) -> None:
    told = attack(
        cell,
        """
        pids = [name for name in os.listdir("/proc") if name.isdigit()]
        names = {p: open(f"/proc/{p}/comm").read().strip() for p in pids}
        denied = {f: why(open, f"/proc/1/{f}") for f in ("environ", "mem", "maps", "exe")}
        PTRACE_ATTACH = 16
        tell([sorted(names.values()), denied, call("ptrace", PTRACE_ATTACH, 1, 0, 0)])
        """,
    )

    names, denied, attached = told
    assert "envoy" not in names
    assert len(names) == 3, names  # init, sleep, this program
    assert set(denied.values()) == {"EACCES"}
    assert attached == "EPERM"


def test_keys_sockets_and_the_meshs_files_are_not_there(cell: RunningMesh) -> None:
    layout = cell.layout
    paths = [
        "/etc/certs", "/etc/istio/proxy", "/etc/istio/config", "/etc/private",
        "/var/run/secrets/workload-spiffe-uds", str(layout.state), str(layout.pki),
        str(layout.kubeconfig), str(layout.run), "/tmp/victims-file", str(cell.folder),
    ]  # fmt: skip

    seen = attack(cell, "tell([p for p in sys.argv[1:] if os.path.isdir(p) and os.listdir(p)"
                  " or os.path.isfile(p)])", *paths)  # fmt: skip

    assert seen == []


def test_services_that_act_for_the_user_are_out_of_reach(cell: RunningMesh) -> None:
    code = """
    def entries(path):
        return os.listdir(path) if os.path.isdir(path) else []
    tell([entries("/run/user"), entries("/run/dbus"), entries("/run/containerd")])
    """
    assert attack(cell, code) == [[], [], []]


def test_no_daemon_surface_is_reachable_but_the_name_server(cell: RunningMesh) -> None:
    api = cell.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").stdout
    code = """
    from concurrent.futures import ThreadPoolExecutor
    api = int(sys.argv[1])
    ports = [*range(1, 1024), api, 6443, 8080, 15010, 15012, 15014, 15017]
    places = [(h, p) for h in ("10.244.0.1", "10.96.0.10", "169.254.1.1") for p in ports]
    def is_open(place):
        # The proxy accepts what it captures: only an answer, or silence, is an open port.
        with socket.socket() as s:
            s.settimeout(20)
            try:
                s.connect(place)
                s.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                return bool(s.recv(1))
            except TimeoutError:
                return True
            except OSError:
                return False
    with ThreadPoolExecutor(32) as pool:
        open_ones = [f"{h}:{p}" for (h, p), yes in zip(places, pool.map(is_open, places)) if yes]
    local = why(connect, "127.0.0.1", api)
    unix = [line.split()[7] for line in open("/proc/net/unix").readlines()[1:]
            if len(line.split()) > 7 and line.split()[7].startswith("@")]
    tell([open_ones, local, unix])
    """
    # 53 is the name server, which hangs up on what is no question.
    found, local, abstract = attack(cell, code, api.rsplit(":", 1)[1])

    # 15012 signs for those who prove who they are.  On 15014, where Service istiod has metrics in
    # which nothing is secret, the pod's own proxy answers for every address.
    others = {place for place in found if not place.endswith(":15014")}
    assert others <= {"10.96.0.10:53", "10.244.0.1:15012"}
    assert local == "ECONNREFUSED"
    assert abstract == []


@pytest.mark.parametrize("own_namespace", [False, True])
def test_capture_cannot_be_bypassed(cell: RunningMesh, *, own_namespace: bool) -> None:
    code = f"""
    SO_MARK, NEWUSER = 36, 0x10000000
    if {own_namespace}:
        assert call("unshare", NEWUSER) == "ok"
    marked = why(socket.socket().setsockopt, socket.SOL_SOCKET, SO_MARK, 1337)
    raw = why(socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    packet = why(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
    netlink = why(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12)
    def rules():
        # NFT_MSG_DELTABLE of table mutua_capture, inside a batch, must be refused.
        import struct
        s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        def message(kind, flags, family, payload=b"", res=0):
            body = struct.pack(">BBH", family, 0, res) + payload
            return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body
        name = b"mutua_capture\\0"
        attr = struct.pack("=HH", 4 + len(name), 1) + name
        attr += b"\\0" * (-len(attr) % 4)
        s.send(message(0x10, 1, 0, res=10) + message(0xA02, 5, 2, attr)
               + message(0x11, 1, 0, res=10))
        code = struct.unpack("=i", s.recv(4096)[16:20])[0]
        if code:
            raise OSError(-code, "refused")
    spoofed = why(connect, sys.argv[1], 8080, "127.0.0.6")
    tell([marked, raw, packet, why(rules), spoofed])
    """
    marked, raw, packet, rules, spoofed = attack(cell, code, victim_ip(cell))

    assert (marked, raw, packet, rules) == ("EPERM",) * 4
    assert spoofed != "ok"


def test_other_namespaces_cannot_be_entered_nor_mounts_uncovered(cell: RunningMesh) -> None:
    code = """
    kinds = ("net", "mnt", "pid", "user", "uts", "ipc")
    of_init = [why(os.open, f"/proc/1/ns/{kind}", os.O_RDONLY) for kind in kinds]
    assert call("unshare", 0x10000000 | 0x20000) == "ok"
    again = [call("setns", os.open(f"/proc/self/ns/{k}", os.O_RDONLY), 0) for k in ("net", "pid")]
    MNT_DETACH = 2
    covers = [line.split()[4] for line in open("/proc/self/mountinfo")]
    uncovered = [m for m in covers if call("umount2", m.encode(), MNT_DETACH) == "ok"]
    os.makedirs("/tmp/there")
    bound = call("mount", b"/run", b"/tmp/there", None, 4096, None)  # MS_BIND, not recursive
    proc = call("mount", b"proc", b"/tmp/there", b"proc", 0, None)
    tell([of_init, again, uncovered, bound, proc])
    """
    of_init, again, uncovered, bound, proc = attack(cell, code)

    assert set(of_init) == {"EACCES"}
    assert "ok" not in again
    assert uncovered == []
    assert bound in {"EINVAL", "ok"}  # whatever is covered below /run is locked to its cover
    assert proc == "EPERM"


def test_the_proxys_admin_tells_no_key(cell: RunningMesh) -> None:
    code = """
    import base64, http.client, re
    def get(path):
        c = http.client.HTTPConnection("127.0.0.1", 15000, timeout=30)
        c.request("GET", path)
        return c.getresponse().read().decode()
    dump = get("/config_dump?include_eds") + get("/certs") + get("/clusters") + get("/listeners")
    keys = re.findall(r'"private_key": \\{\\s*"inline_(?:bytes|string)": "([^"]*)"', dump)
    tell(["PRIVATE KEY" in dump, sorted({base64.b64decode(k).decode() for k in keys})])
    """
    assert attack(cell, code) == [False, ["[redacted]"]]


def test_nobody_else_reaches_a_proxys_admin(cell: RunningMesh) -> None:
    code = """
    import http.client
    def get():
        c = http.client.HTTPConnection(sys.argv[1], 15000, timeout=5)
        c.request("GET", "/certs")
        answer = c.getresponse().read()
        assert b"certificates" not in answer, answer
        raise ConnectionRefusedError(111, "not the admin")
    tell(why(get))
    """
    assert attack(cell, code, victim_ip(cell)) != "ok"


def test_the_key_is_where_istio_has_it_for_the_proxy_alone(cell: RunningMesh) -> None:
    listing = ("ls", "/etc/certs")
    argv = ("exec", "-n", "cell", "attacker", "-c")

    assert cell.kubectl(*argv, "istio-proxy", "--", *listing).stdout.split() == [
        "cert-chain.pem", "key.pem", "root-cert.pem",
    ]  # fmt: skip
    assert cell.kubectl(*argv, "app", "--", *listing, check=False).returncode != 0


def test_keys_of_workloads_are_in_memory_and_in_no_file_of_the_host(cell: RunningMesh) -> None:
    look = ["exec", "victim", "-n", "cell", "-c", "istio-proxy", "--"]
    key = cell.kubectl(*look, "cat", "/etc/certs/key.pem").stdout
    body = key.splitlines()[1].encode()
    assert "PRIVATE KEY" in key

    assert cell.kubectl(*look, "stat", "-f", "-c", "%T", "/etc/certs").stdout.strip() == "tmpfs"
    files = [one for top in (cell.layout.run, cell.layout.state) for one in top.rglob("*")]
    assert cell.layout.database in files
    assert [one for one in files if one.is_file() and body in one.read_bytes()] == []
