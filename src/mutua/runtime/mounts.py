"""What does a container see when it looks at the file system?

The host's files, with its own /proc and a small /dev, a /sys that cannot be written to, the
spec's mounts on top, and without the paths to hide.  Runs in the container's first process, in a
mount namespace of its own.

Nothing on the host is ever created to carry a mount.  A target that does not exist is made to
appear by *mimicking* the deepest directory above it that does: a small tmpfs is mounted there,
every entry of the original is bound into it, and the missing name is added.  For a target right
under / the mimic becomes the new root.  A mimic is read-only in the end, so it grants no writes
that the original did not.

Sources are cloned before anything is mounted, so that no mount can cover another one's source.
"""

import os
import stat
from collections.abc import Sequence
from typing import Final

from mutua.runtime import linux
from mutua.runtime.spec import Mount, StartFailed

TMPFS_FLAGS: Final = linux.MS_NOSUID | linux.MS_NODEV

READ_ONLY_PROC: Final = ("sys", "sysrq-trigger", "irq", "bus", "fs")
"""Parts of /proc that configure the machine or the network namespace.

Their files belong to uid 0, which is what an application's user is called in a single-user user
namespace, so a capability check alone would let it set net.* of its pod.  Source: the read-only
paths of the OCI runtimes' default specification.
"""

DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")
"""What /dev holds: nothing that leads around the file system's permissions.

The host's disks are files of root, and in a mesh that root runs so is the application.  Source:
the default devices of the OCI runtime specification.
"""

DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}

STAGE: Final = "/proc"
"""Where a new root is put together; any directory that exists everywhere."""


def arrange(mounts: Sequence[Mount], hide: Sequence[str]) -> None:
    """Give the calling process's mount namespace the container's view.

    Raises:
        StartFailed: A mount's source is missing, or its target is impossible.
        OSError: The kernel refused something that should work.
    """
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    sources = [_clone(mount) for mount in mounts]
    # Before anything is created for a mount: a link that the pod swaps in meanwhile leads nowhere.
    # And again in the end, for what a mount or a mimic may have uncovered.
    for path in hide:
        _hide(path)
    _mount_dev()
    _mount_sys()
    _mount_proc()
    view = _View()
    for mount, source in zip(mounts, sources, strict=True):
        _attach(view, mount, source)
    view.seal()
    for path in hide:
        _hide(path)


def _clone(mount: Mount) -> int:
    if mount.kind == "tmpfs":
        return -1
    try:
        if mount.inside:
            tree = _clone_inside(mount)
        else:
            tree = linux.clone_mount(mount.source) if mount.follow else _clone_exactly(mount.source)
    except OSError as error:
        where = os.path.join(mount.source, mount.inside) if mount.inside else mount.source  # noqa: PTH118
        raise StartFailed(f"cannot mount {where}: {linux.reason(error)}") from error
    if mount.read_only:
        linux.make_read_only(tree)
    return tree


def _clone_inside(mount: Mount) -> int:
    """Clone a part of a source whose content belongs to the pod, even while the pod changes it."""
    directory = os.open(mount.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        part = linux.open_beneath(directory, mount.inside)
    finally:
        os.close(directory)
    try:
        return linux.clone_mount("", directory=part)
    finally:
        os.close(part)


def _clone_exactly(directory: str) -> int:
    """Clone a directory; a symbolic link anywhere in its path is an error."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open("/", flags)
    for name in filter(None, directory.split("/")):
        try:
            below = os.open(name, flags, dir_fd=here)
        finally:
            os.close(here)
        here = below
    try:
        return linux.clone_mount(".", directory=here)
    finally:
        os.close(here)


def _attach(view: "_View", mount: Mount, source: int) -> None:
    if not os.path.isabs(mount.target):  # noqa: PTH117 - pathlib would cost the shim memory
        raise StartFailed(f"mount target {mount.target!r} is not an absolute path")
    is_directory = source < 0 or stat.S_ISDIR(os.fstat(source).st_mode)
    target = view.provide(mount.target, is_directory=is_directory)
    if source < 0:
        linux.mount("tmpfs", target, "tmpfs", TMPFS_FLAGS, "mode=1777")
        if mount.read_only:
            linux.make_read_only(path=target)
    else:
        linux.attach_mount(source, target)
        os.close(source)
    view.mounted(target, ours=source < 0 or (mount.owned and not mount.read_only))


class _View:
    """The file system under construction: which mounts are ours to create names in."""

    def __init__(self) -> None:
        # Mount point -> whether nobody but the pod sees what is created in it.
        self._mounted = {"/dev": True, "/dev/pts": False, "/proc": False, "/sys": False}
        self._mimics: list[str] = []

    def mounted(self, target: str, *, ours: bool) -> None:
        """Record a mount."""
        self._mounted[target] = ours

    def provide(self, target: str, *, is_directory: bool) -> str:
        """Make `target` exist and return it with symbolic links resolved."""
        path = os.path.realpath(target)
        if os.path.lexists(path):
            if os.path.isdir(path) is not is_directory:  # noqa: PTH112
                kind = "a directory" if is_directory else "a file"
                raise StartFailed(f"cannot mount {kind} on {target}: it is not one")
            return path
        parent = os.path.dirname(path)  # noqa: PTH120
        existing = parent
        while not os.path.lexists(existing):
            existing = os.path.dirname(existing)  # noqa: PTH120
        if not os.path.isdir(existing):  # noqa: PTH112
            raise StartFailed(f"cannot mount on {target}: {existing} is not a directory")
        if not self._is_ours(existing):
            self._mimic(existing)
        os.makedirs(parent, mode=0o755, exist_ok=True)  # noqa: PTH103
        if is_directory:
            os.mkdir(path, 0o755)  # noqa: PTH102
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        return path

    def seal(self) -> None:
        """Make the mimics read-only; what is mounted inside them stays as it is."""
        for path in self._mimics:
            linux.make_read_only(path=path, recursive=False)

    def _is_ours(self, path: str) -> bool:
        while path not in self._mounted and path != "/":
            path = os.path.dirname(path)  # noqa: PTH120
        return self._mounted.get(path, False)

    def _mimic(self, path: str) -> None:
        original = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stage = STAGE if path == "/" else path
        entries = _entries(original)
        clones = [(entry, _clone_entry(original, entry)) for entry in entries]
        mode = stat.S_IMODE(os.fstat(original).st_mode)
        linux.mount("tmpfs", stage, "tmpfs", TMPFS_FLAGS, f"mode={mode:o}")
        for entry, tree in clones:
            _place(f"{stage}/{entry.name}", entry, tree, original)
            self._mounted[os.path.join(path, entry.name)] = False  # noqa: PTH118
        os.close(original)
        if path == "/":
            _enter_root(stage)
        self._mounted[path] = True
        self._mimics.append(path)


def _entries(directory: int) -> list["os.DirEntry[str]"]:
    with os.scandir(directory) as found:
        return list(found)


def _clone_entry(directory: int, entry: "os.DirEntry[str]") -> int:
    """Clone what a name leads to; -1 for symbolic links and for what cannot be reached."""
    if entry.is_symlink():
        return -1
    try:
        return linux.clone_mount(entry.name, directory=directory)
    except OSError:
        return -1  # a file that vanished, or a file system that refuses us: shown empty


def _place(path: str, entry: "os.DirEntry[str]", tree: int, directory: int) -> None:
    if entry.is_symlink():
        os.symlink(os.readlink(entry.name, dir_fd=directory), path)  # noqa: PTH211
        return
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(path, 0o755)  # noqa: PTH102
    else:
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o644))
    if tree >= 0:
        linux.attach_mount(tree, path)
        os.close(tree)


def _enter_root(new_root: str) -> None:
    """Make `new_root` the root and let go of the old one (pivot_root(2), NOTES)."""
    os.chdir(new_root)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _mount_dev() -> None:
    present = [name for name in DEVICES if os.path.lexists(f"/dev/{name}")]
    clones = [(name, linux.clone_mount(f"/dev/{name}")) for name in present]
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("tmpfs", "/dev", "tmpfs", flags, "mode=0755,size=64m")
    for name, tree in clones:
        os.close(os.open(f"/dev/{name}", os.O_CREAT | os.O_CLOEXEC, 0o644))
        linux.attach_mount(tree, f"/dev/{name}")
        os.close(tree)
    for name, target in DEVICE_LINKS.items():
        os.symlink(target, f"/dev/{name}")  # noqa: PTH211
    os.mkdir("/dev/shm")  # noqa: PTH102, S108 - the standard place of POSIX shared memory
    linux.mount("tmpfs", "/dev/shm", "tmpfs", TMPFS_FLAGS, "mode=1777")  # noqa: S108
    os.mkdir("/dev/pts")  # noqa: PTH102
    linux.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=0666,mode=0620")


def _mount_sys() -> None:
    if os.path.isdir("/sys/kernel"):  # noqa: PTH112
        tree = linux.clone_mount("/sys")
        linux.make_read_only(tree)
        linux.attach_mount(tree, "/sys")
        os.close(tree)


def _mount_proc() -> None:
    linux.mount("proc", "/proc", "proc", TMPFS_FLAGS | linux.MS_NOEXEC)
    for name in READ_ONLY_PROC:
        path = f"/proc/{name}"
        if os.path.lexists(path):
            tree = linux.clone_mount(path)
            linux.make_read_only(tree)
            linux.attach_mount(tree, path)
            os.close(tree)


def _hide(path: str) -> None:
    """Cover a path; fails rather than leave something visible."""
    try:
        is_directory = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return  # another mount already took it out of sight
    if is_directory:
        flags = TMPFS_FLAGS | linux.MS_NOEXEC | linux.MS_RDONLY
        linux.mount("tmpfs", path, "tmpfs", flags, "mode=0555,size=4k")
        return
    tree = linux.clone_mount("/dev/null")
    linux.attach_mount(tree, path)
    os.close(tree)
