"""What a container sees of the file system."""

from pathlib import Path

import pytest

from mutua.runtime.spec import ContainerSpec, Mount, StartFailed
from mutua.testing.shims import PrivateMesh, Result


async def shell(mesh: PrivateMesh, script: str, spec: ContainerSpec) -> Result:
    async with mesh.connect() as shim:
        await shim.start(spec)
        return await mesh.run(shim, spec.id, "sh", "-c", script)


@pytest.fixture
def volume(mesh: PrivateMesh) -> Path:
    directory = mesh.base / "volume"
    directory.mkdir()
    (directory / "file").write_text("from the volume\n")
    return directory


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/data", id="right under the root"),
        pytest.param("/data/a/b/c", id="deep under the root"),
        pytest.param("/etc/istio/proxy", id="in a directory of the host"),
        pytest.param("/var/run/secrets/kubernetes.io/serviceaccount", id="behind a symbolic link"),
        pytest.param("/usr/lib/mutua-no-such/x", id="in a large directory"),
        pytest.param("/mnt", id="on a directory that exists"),
    ],
)
async def test_a_volume_appears_wherever_it_should(
    mesh: PrivateMesh, volume: Path, target: str
) -> None:
    existed = Path(target).exists()
    spec = mesh.spec(mounts=(Mount(target=target, source=str(volume)),))

    result = await shell(mesh, f"cat {target}/file && echo new > {target}/new", spec)

    assert result == Result(0, "from the volume\n")
    assert (volume / "new").read_text() == "new\n"
    assert Path(target).exists() is existed, "nothing is created on the host"


async def test_the_rest_of_a_mimicked_directory_stays_as_it_was(mesh: PrivateMesh) -> None:
    mounts = (Mount(target="/etc/istio/x", kind="tmpfs"), Mount(target="/data", kind="tmpfs"))
    spec = mesh.spec(mounts=mounts)

    result = await shell(mesh, "ls -A /etc; echo; ls -A /; cat /etc/passwd; readlink /bin", spec)

    etc, rest = result.output.split("\n\n")
    assert set(etc.splitlines()) == {p.name for p in Path("/etc").iterdir()} | {"istio"}
    assert {"data"} | {p.name for p in Path("/").iterdir()} <= set(rest.splitlines())
    assert Path("/etc/passwd").read_text() in rest


@pytest.mark.parametrize("place", ["/etc/istio/new", "/etc/new", "/new"])
async def test_a_mimic_cannot_be_written_to(mesh: PrivateMesh, place: str) -> None:
    mounts = (Mount(target="/etc/istio/x", kind="tmpfs"), Mount(target="/data", kind="tmpfs"))

    result = await shell(mesh, f"touch {place}", mesh.spec(mounts=mounts))

    assert result.code != 0
    assert not Path(place).exists()


async def test_single_files_are_mounted_over_and_beside(mesh: PrivateMesh) -> None:
    hosts = mesh.base / "hosts"
    hosts.write_text("10.0.0.1 web\n")
    mounts = tuple(
        Mount(target=target, source=str(hosts)) for target in ("/etc/hosts", "/etc/app/new.conf")
    )

    result = await shell(mesh, "cat /etc/hosts /etc/app/new.conf", mesh.spec(mounts=mounts))

    assert result.output == "10.0.0.1 web\n" * 2


async def test_a_read_only_volume_is_read_only(mesh: PrivateMesh, volume: Path) -> None:
    spec = mesh.spec(mounts=(Mount(target="/data", source=str(volume), read_only=True),))

    result = await shell(mesh, "cat /data/file; echo x > /data/file", spec)

    assert result.code != 0
    assert (volume / "file").read_text() == "from the volume\n"


async def test_volumes_nest(mesh: PrivateMesh, volume: Path) -> None:
    mounts = (
        Mount(target="/data", kind="tmpfs"),
        Mount(target="/data/inner/volume", source=str(volume)),
        Mount(target="/data/inner/volume/file", source="/etc/passwd", read_only=True),
    )

    result = await shell(mesh, "head -c 5 /data/inner/volume/file", mesh.spec(mounts=mounts))

    assert result.output == "root:"
    assert (volume / "file").read_text() == "from the volume\n"


async def test_a_mount_may_cover_the_source_of_another(mesh: PrivateMesh, volume: Path) -> None:
    tmp = mesh.base / "tmp"
    tmp.mkdir()
    mounts = (
        Mount(target=str(mesh.base), source=str(tmp)),
        Mount(target="/data", source=str(volume)),
    )

    spec = mesh.spec(mounts=mounts, hide=(str(mesh.layout.run), str(mesh.layout.state)))
    result = await shell(mesh, f"cat /data/file; ls -A {mesh.base}", spec)

    assert result.output == "from the volume\n"


async def test_changes_to_a_volume_are_seen_at_once(mesh: PrivateMesh, volume: Path) -> None:
    spec = mesh.spec(mounts=(Mount(target="/data", source=str(volume), read_only=True),))
    async with mesh.connect() as shim:
        await shim.start(spec)
        (volume / "later").write_text("later\n")

        assert (await mesh.run(shim, spec.id, "cat", "/data/later")).output == "later\n"


async def test_a_part_of_a_volume_is_mounted_alone(mesh: PrivateMesh, volume: Path) -> None:
    (volume / "a").mkdir()
    (volume / "a" / "deep").write_text("deep\n")
    (volume / "link").symlink_to("a/deep")
    mounts = (
        Mount(target="/part", source=str(volume), inside="a", read_only=True),
        Mount(target="/single", source=str(volume), inside="link"),
    )

    result = await shell(
        mesh, "cat /part/deep /single; touch /part/x || ls /part", mesh.spec(mounts=mounts)
    )

    assert result.output.splitlines()[:2] == ["deep", "deep"]
    assert not (volume / "a" / "x").exists()


@pytest.mark.parametrize(
    ("link", "path"),
    [
        pytest.param("{state}", "evil", id="the mesh's keys, by their path"),
        pytest.param("{state}", "evil/pki", id="on the way"),
        pytest.param("../../../../../../etc", "evil", id="up and away"),
        pytest.param("/proc/self/root/etc", "evil", id="through the process"),
    ],
)
async def test_a_link_out_of_a_volume_is_not_followed(
    mesh: PrivateMesh, volume: Path, link: str, path: str
) -> None:
    (mesh.layout.state / "pki").mkdir(parents=True, exist_ok=True)
    (volume / "evil").symlink_to(link.format(state=mesh.layout.state))
    spec = mesh.spec(mounts=(Mount(target="/loot", source=str(volume), inside=path),))
    async with mesh.connect() as shim:
        with pytest.raises(StartFailed, match=r"cannot mount .*evil.*: invalid cross-device link"):
            await shim.start(spec)


async def test_what_another_container_mounts_is_not_seen(mesh: PrivateMesh, volume: Path) -> None:
    one = mesh.spec(mounts=(Mount(target="/mnt", source=str(volume)),))
    other = mesh.spec()
    async with mesh.connect() as shim:
        await shim.start(other)
        await shim.start(one)

        assert (await mesh.run(shim, one.id, "ls", "/mnt")).output == "file\n"
        assert "file" not in (await mesh.run(shim, other.id, "ls", "/mnt")).output.split()


@pytest.mark.parametrize(
    ("mount", "sentence"),
    [
        pytest.param(
            Mount(target="/x", source="/no/such"),
            "cannot mount /no/such: no such file or directory",
            id="no source",
        ),
        pytest.param(
            Mount(target="/etc", source="/etc/passwd"),
            "cannot mount a file on /etc: it is not one",
            id="a file on a directory",
        ),
        pytest.param(
            Mount(target="/etc/passwd", source="/etc"),
            "cannot mount a directory on /etc/passwd: it is not one",
            id="a directory on a file",
        ),
        pytest.param(
            Mount(target="/etc/passwd/x", source="/etc"),
            "cannot mount on /etc/passwd/x: /etc/passwd is not a directory",
            id="below a file",
        ),
    ],
)
async def test_an_impossible_mount_is_explained(
    mesh: PrivateMesh, mount: Mount, sentence: str
) -> None:
    async with mesh.connect() as shim:
        with pytest.raises(StartFailed) as failure:
            await shim.start(mesh.spec(mounts=(mount,)))

    assert str(failure.value) == sentence


async def test_devices_are_few_and_lead_nowhere(mesh: PrivateMesh) -> None:
    script = (
        "find /dev -type b; cd /dev && ls; "
        "echo x > /dev/null && head -c 3 /dev/zero | wc -c && echo out > /dev/stdout"
    )
    devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"

    assert (await shell(mesh, script, mesh.spec())).output.split() == [*devices.split(), "3", "out"]


async def test_a_volume_may_replace_shared_memory_or_add_to_dev(mesh: PrivateMesh) -> None:
    message = mesh.base / "message"
    message.touch()
    mounts = (
        Mount(target="/dev/shm", kind="tmpfs"),
        Mount(target="/dev/termination-log", source=str(message)),
    )

    result = await shell(
        mesh, "echo bye > /dev/termination-log; ls -A /dev/shm", mesh.spec(mounts=mounts)
    )

    assert result == Result(0, "")
    assert message.read_text() == "bye\n"


async def test_the_machine_cannot_be_configured(mesh: PrivateMesh) -> None:
    script = "for f in /sys/x /sys/kernel/x /sys/fs/cgroup/x; do mkdir $f 2>&1; done; true"

    output = (await shell(mesh, script, mesh.spec())).output

    assert output.count("Read-only file system") >= 2


async def test_the_containers_own_proc_and_shared_memory_are_mounted(mesh: PrivateMesh) -> None:
    script = "ls /dev/shm; echo x > /dev/shm/x; ls /dev/shm; tr '\\0' ' ' < /proc/2/cmdline"

    assert (await shell(mesh, script, mesh.spec())).output == "x\nsleep 1000 "
