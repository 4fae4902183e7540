"""Which Kubernetes does this API server claim to be?

kubectl warns when client and server are more than one minor version apart; 1.32 is the version
whose requests this server was measured against.
"""

import platform
from typing import Final

from mutua import __version__

KUBERNETES_VERSION: Final = "v1.32.4"
"""The API version spoken.  Source: the kubectl that tests/kubectl runs."""


GO_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names of machines, which clients expect."""


def version_document() -> dict[str, str]:
    """Return the answer to GET /version."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    machine = platform.machine()
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{KUBERNETES_VERSION}+mutua-{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": f"python{platform.python_version()}",
        "platform": f"linux/{GO_MACHINES.get(machine, machine)}",
    }
