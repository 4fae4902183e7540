"""What a program in a container cannot do, tried by a real one.

The attacker is Python in an otherwise ordinary container: same kernel user as every other pod, as
the daemon and as the proxy.
"""

import os
import resource
import socket
import sys
import textwrap
from pathlib import Path

import pytest

from mutua.runtime.spec import Mount
from mutua.testing.shims import PrivateMesh, Result

ANOTHER_USER = 4242
"""Neither root nor whoever runs the tests."""

SYSCALLS = """
import ctypes, errno, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    code = getattr(libc, name)(*arguments)
    return 'ok' if code >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    try: function(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
    return 'ok'
def new_user_namespace(*, flags=0):
    uid = os.getuid()
    outcome = call('unshare', 0x10000000 | flags)
    assert outcome == 'ok', outcome
    open('/proc/self/setgroups', 'w').write('deny')
    open('/proc/self/uid_map', 'w').write(f'0 {uid} 1')
NEWNS, NEWPID, NEWNET = 0x20000, 0x20000000, 0x40000000
"""


async def attack(mesh: PrivateMesh, code: str, **changes: object) -> Result:
    """Run an attacker in a new container; the mesh's own directories are hidden from it."""
    hide = (str(mesh.layout.state), str(mesh.layout.run))
    spec = mesh.spec(**({"hide": hide} | changes))
    async with mesh.connect() as shim:
        await shim.start(spec)
        return await mesh.python(shim, spec.id, SYSCALLS + textwrap.dedent(code))


def fields(status: str, prefix: str) -> dict[str, str]:
    lines = [line.split(":\t") for line in status.splitlines() if line.startswith(prefix)]
    return {name: value for name, value in lines}  # noqa: C416 - says what it is


async def test_the_program_has_no_capability_and_can_gain_none(mesh: PrivateMesh) -> None:
    spec = mesh.spec("cat", "/proc/self/status")
    async with mesh.connect() as shim:
        await shim.start(spec)
        await mesh.wait_end(shim, spec.id)
    status = "\n".join(mesh.log(spec))

    assert set(fields(status, "Cap").values()) == {"0" * 16}
    assert fields(status, "NoNewPrivs") == {"NoNewPrivs": "1"}
    assert set(fields(status, "Sig").values()) >= {"0" * 16}
    assert fields(status, "SigBlk") | fields(status, "SigIgn") == {
        "SigBlk": "0" * 16,
        "SigIgn": "0" * 16,
    }


async def test_the_first_process_has_no_capability_either(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        state = await shim.start(mesh.spec(capabilities=("NET_ADMIN",)))
    status = Path(f"/proc/{state.init_pid}/status").read_text()

    assert set(fields(status, "Cap").values()) == {"0" * 16}
    assert fields(status, "NoNewPrivs") == {"NoNewPrivs": "1"}


async def test_an_executed_program_is_confined_the_same(mesh: PrivateMesh) -> None:
    spec = mesh.spec(capabilities=("NET_ADMIN",))
    async with mesh.connect() as shim:
        await shim.start(spec)
        status = (await mesh.run(shim, spec.id, "cat", "/proc/self/status")).output

    assert set(fields(status, "Cap").values()) == {"0" * 16}
    assert fields(status, "NoNewPrivs") == {"NoNewPrivs": "1"}


async def test_a_granted_capability_is_the_only_one(mesh: PrivateMesh) -> None:
    code = (
        "from socket import *; socket().setsockopt(SOL_SOCKET, SO_MARK, 1337)\n"
        "print(open('/proc/self/status').read())"
    )
    spec = mesh.spec(sys.executable, "-I", "-c", code, capabilities=("NET_ADMIN",))
    async with mesh.connect() as shim:
        await shim.start(spec)
        assert (await mesh.wait_end(shim, spec.id)).exit_code == 0
    caps = fields("\n".join(mesh.log(spec)), "Cap")

    assert caps.pop("CapBnd") == "0" * 16
    assert set(caps.values()) == {f"{1 << 12:016x}"}


async def test_it_sees_no_process_but_its_own(mesh: PrivateMesh) -> None:
    async with mesh.connect() as shim:
        await shim.start(mesh.spec("sleep", "7777"))
    code = """
        for pid in filter(str.isdecimal, os.listdir('/proc')):
            print(pid, open(f'/proc/{pid}/cmdline').read().split(chr(0))[:2])
    """

    lines = (await attack(mesh, code)).output.splitlines()

    assert [line.split(" ", 1)[0] for line in lines] == ["1", "2", "3"]
    assert lines[1:] == ["2 ['sleep', '1000']", f"3 ['{sys.executable}', '-I']"]


async def test_it_cannot_read_hidden_paths(mesh: PrivateMesh) -> None:
    for path in (mesh.layout.state / "pki" / "key.pem", mesh.layout.run / "other" / "key.pem"):
        path.parent.mkdir()
        path.write_text("secret")
    alone = mesh.base / "alone.txt"
    alone.write_text("secret")
    code = f"""
        print(os.listdir({str(mesh.layout.state)!r}), os.listdir({str(mesh.layout.run)!r}))
        print(attempt(open, {str(mesh.layout.state / "pki" / "key.pem")!r}))
        print(repr(open({str(alone)!r}).read()))
        print(attempt(open, {str(mesh.layout.state / "new")!r}, 'w'))
    """
    hide = (str(mesh.layout.state), str(mesh.layout.run), str(alone), "/no/such/path")

    result = await attack(mesh, code, hide=hide)

    assert result.output.splitlines() == ["[] []", "ENOENT", "''", "EROFS"]


async def test_the_files_of_the_proxy_are_not_in_the_applications_view(mesh: PrivateMesh) -> None:
    mesh.python_inside(
        "d = layout.pod('u') / 'proxy'; d.mkdir(parents=True); (d / 'key.pem').write_text('secret')"
    )
    proxy = mesh.spec(
        "cat", "/etc/certs/key.pem",
        mounts=(Mount(target="/etc/certs", source=str(mesh.layout.pod("u") / "proxy")),),
        hide=(str(mesh.layout.run),),
    )  # fmt: skip
    async with mesh.connect() as shim:
        await shim.start(proxy)
        await mesh.wait_end(shim, proxy.id)
    code = f"""
        import subprocess
        print(os.path.exists('/etc/certs/key.pem'))
        command = ['grep', '-rl', 'secret', {str(mesh.base)!r}]
        print(subprocess.run(command, capture_output=True).stdout)
    """

    assert mesh.log(proxy) == ["secret"]
    assert (await attack(mesh, code)).output.splitlines() == ["False", "b''"]


async def test_a_user_namespace_of_its_own_uncovers_nothing(mesh: PrivateMesh) -> None:
    (mesh.layout.state / "key.pem").write_text("secret")
    state = str(mesh.layout.state)
    code = f"""
        state = {state!r}.encode()
        new_user_namespace(flags=NEWNS)
        print(open('/proc/self/status').read().split('CapEff:')[1].split()[0] != '0' * 16)
        print(call('umount2', state, 0), call('umount2', state, 2), call('umount2', b'/', 2))
        print(call('umount2', b'/proc/sys', 0))
        os.makedirs('/tmp/uncovered', exist_ok=True)
        print(call('mount', b'/', b'/tmp/uncovered', None, 4096, None))
        print(call('mount', b'/', b'/tmp/uncovered', None, 4096 | 16384, None))
        print(os.listdir('/tmp/uncovered' + {state!r}), os.listdir({state!r}))
        print(call('mount', None, state, None, 32 | 4096, None))
        print(attempt(open, {state!r} + '/x', 'w'))
    """
    tmp = mesh.base / "tmp"
    tmp.mkdir()
    mounts = (Mount(target="/tmp", source=str(tmp)),)
    hide = (state, str(mesh.layout.run))

    # The hidden directories live in /tmp here, which this container must keep seeing.
    if state.startswith("/tmp/"):
        mounts = ()
        code = code.replace("/tmp/uncovered", f"{mesh.base}/uncovered")

    result = await attack(mesh, code, mounts=mounts, hide=hide)

    assert result.output.splitlines() == [
        "True",  # it is root of something, just not of anything that matters
        "EINVAL EINVAL EINVAL",
        "EINVAL",
        "EINVAL",
        "ok",
        "[] []",
        "EPERM",
        "EROFS",
    ]


@pytest.mark.parametrize("own_namespace", [False, True], ids=["plain", "in a user namespace"])
async def test_it_cannot_touch_capture(mesh: PrivateMesh, own_namespace: bool) -> None:
    code = """
        s = socket.socket()
        print(attempt(s.setsockopt, socket.SOL_SOCKET, socket.SO_MARK, 1337))
        print(attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))
        print(attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0))
        def netlink(protocol, kind, payload):
            s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
            s.send(struct.pack('=IHHII', 16 + len(payload), kind, 5, 1, 0) + payload)
            code = -struct.unpack('=i', s.recv(4096)[16:20])[0]
            return errno.errorcode.get(code, code)
        print(netlink(12, 10 << 8 | 2, struct.pack('=BBH', 2, 0, 0)))  # NFT_MSG_DELTABLE
        print(netlink(0, 17, struct.pack('=BBHiII', 0, 0, 0, 1, 0, 0)))  # RTM_DELLINK lo
        print(attempt(open, '/proc/sys/net/ipv4/ip_forward', 'w'))
    """
    if own_namespace:
        code = "        new_user_namespace()\n" + code

    result = await attack(mesh, code)

    assert result.output.splitlines() == ["EPERM"] * 5 + ["EROFS"]


async def test_it_cannot_mount_or_join(mesh: PrivateMesh) -> None:
    code = """
        print(call('mount', b'none', b'/mnt', b'tmpfs', 0, None), call('umount2', b'/proc', 0))
        print(call('unshare', NEWNS), call('unshare', NEWNET), call('chroot', b'/'))
        print(call('setns', os.open('/proc/self/ns/mnt', 0), 0))
        print(call('sethostname', b'x', 1))
    """

    result = await attack(mesh, code)

    assert result.output.split() == ["EPERM"] * 7


async def test_it_cannot_inspect_the_first_process(mesh: PrivateMesh) -> None:
    code = """
        ATTACH, SEIZE = 16, 0x4206
        print(call('ptrace', ATTACH, 1, 0, 0), call('ptrace', SEIZE, 1, 0, 0))
        for name in ('mem', 'environ', 'maps', 'fd/2', 'root', 'exe', 'cwd', 'ns/mnt'):
            print(name, attempt(os.open, f'/proc/1/{name}', os.O_RDONLY))
            print(name, attempt(os.readlink, f'/proc/1/{name}'))
        new_user_namespace()
        print(call('ptrace', ATTACH, 1, 0, 0), call('ptrace', SEIZE, 1, 0, 0))
    """

    first, *files, last = (await attack(mesh, code)).output.splitlines()

    assert first == last == "EPERM EPERM"
    assert {line.split()[1] for line in files} <= {"EACCES", "EPERM", "EINVAL"}, files


async def test_it_cannot_control_the_shim_even_if_it_sees_the_socket(mesh: PrivateMesh) -> None:
    code = f"""
        s = socket.socket(socket.AF_UNIX)
        s.connect({str(mesh.layout.shim_socket)!r})
        body = b'{{"id":1,"op":"containers"}}'
        try:
            s.send(struct.pack('>I', len(body)) + body)
            print(s.recv(100))
        except OSError:
            print('hung up')
    """

    assert (await attack(mesh, code, hide=())).output.strip() in {"b''", "hung up"}


async def test_its_temporary_files_are_private(mesh: PrivateMesh) -> None:
    directories = [mesh.base / name for name in ("one", "two")]
    for directory in directories:
        directory.mkdir()
    specs = [mesh.spec(mounts=(Mount(target="/tmp", source=str(d)),)) for d in directories]
    async with mesh.connect() as shim:
        for spec in specs:
            await shim.start(spec)
            await mesh.run(shim, spec.id, "sh", "-c", "echo hers > /tmp/f; echo hers > /dev/shm/f")
            listing = await mesh.run(shim, spec.id, "ls", "/tmp", "/dev/shm")
            assert listing.output.split() == ["/dev/shm:", "f", "/tmp:", "f"]

    assert [p.name for p in directories[0].iterdir()] == ["f"]
    assert not Path("/dev/shm/f").exists()


async def test_it_has_a_host_name_and_ipc_of_its_own(mesh: PrivateMesh) -> None:
    spec = mesh.spec(hostname="web-0")
    async with mesh.connect() as shim:
        state = await shim.start(spec)
        assert (await mesh.run(shim, spec.id, "uname", "-n")).output == "web-0\n"

    assert socket.gethostname() != "web-0"
    for name in ("pid", "mnt", "uts", "ipc"):
        link = Path(f"/proc/{state.pid}/ns/{name}").readlink()
        assert link != Path(f"/proc/self/ns/{name}").readlink()
        assert link != Path(f"/proc/{mesh.shim_pid}/ns/{name}").readlink()


async def test_it_inherits_nothing_it_should_not(mesh: PrivateMesh) -> None:
    code = (
        "import os, resource\n"
        "print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])\n"
        "print(dict(os.environ))\n"
        "print(os.getsid(0) == os.getpid(), oct(os.umask(0)), os.getcwd())\n"
        "print([resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)])\n"
    )
    spec = mesh.spec(sys.executable, "-I", "-c", code, env={"LC_ALL": "C.UTF-8"}, cwd="/usr")
    async with mesh.connect() as shim:
        await shim.start(spec)
        assert (await mesh.wait_end(shim, spec.id)).exit_code == 0

    limits = [resource.getrlimit(n) for n in (resource.RLIMIT_NOFILE, resource.RLIMIT_STACK)]
    assert mesh.log(spec) == [
        "[0, 1, 2]",
        "{'LC_ALL': 'C.UTF-8'}",
        "True 0o22 /usr",
        str(limits),
    ]


async def test_it_gains_no_file_access_its_user_does_not_have(mesh: PrivateMesh) -> None:
    """Not even root's: what another user keeps to himself is closed to a mesh that root runs."""
    secret = mesh.base / "secret"
    secret.write_text("of another user")
    paths = ["/srv/secret"]
    if os.geteuid() == 0:
        secret.chmod(0o600)
        os.chown(secret, ANOTHER_USER, ANOTHER_USER)
    else:
        secret.chmod(0o000)
        paths += ["/etc/shadow", "/etc/gshadow"]
    mounts = (Mount(target="/srv/secret", kind="bind", source=str(secret)),)
    code = f"print(*[attempt(open, path, how) for path in {paths} for how in 'ra'])"

    result = await attack(mesh, code, mounts=mounts)

    assert set(result.output.split()) == {"EACCES"}
