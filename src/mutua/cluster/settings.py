"""What the daemon of one mesh is told when it starts: values only, no secrets.

`mutua up` fills it in and hands it to the daemon as JSON; nothing below the command line reads
the environment.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mutua.foundation.errors import Rejected
from mutua.foundation.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """Everything the daemon needs to know.

    Attributes:
        layout: The mesh's directories.
        python: The interpreter that runs the shim and the image catalogue's programs.
        path: PATH of containers that set none: where their programs are looked up.
        visible: Where the interpreter and mutua itself are installed: containers need them, even
            below /tmp.
        envoy: Path of the Envoy to run, "" for the one that was installed with mutua.
        trust_domain: The first part of every identity in a new mesh; "" for Istio's default,
            cluster.local, or for what an existing mesh has.
        log_level: Of the daemon's log: DEBUG, INFO, WARNING or ERROR.
        workload_cert_ttl: Seconds that a workload's certificate lives; 0 for the authority's
            default.  Istio's DEFAULT_WORKLOAD_CERT_TTL.
    """

    layout: Layout
    python: str
    path: str
    visible: tuple[str, ...] = ()
    envoy: str = ""
    trust_domain: str = ""
    log_level: str = "INFO"
    workload_cert_ttl: float = 0.0

    def to_json(self) -> str:
        """Serialise for `from_json`."""
        return json.dumps(asdict(self), default=str)


def from_json(text: str) -> DaemonSettings:
    """Read what `to_json` wrote.

    Raises:
        Rejected: It is something else; the message names the first wrong key.
    """
    try:
        raw = json.loads(text)
        layout = raw.pop("layout")
        raw["visible"] = tuple(raw.get("visible", ()))
        return DaemonSettings(
            layout=Layout(layout["name"], Path(layout["state"]), Path(layout["run"])), **raw
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"not the daemon's settings: {error}") from error
