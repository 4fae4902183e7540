"""Services that lead to one port of a workload and do not fit together: said once per change.

A Service has no status of mutua's, so that its author is told with an Event on the younger of the
two; the log has the same.  `analyze` names them whenever it is asked (IST0116, IST0137).
"""

import logging
from collections.abc import Callable
from typing import Final

from mutua.api.object import SERVICES, Object
from mutua.controlplane.mesh_config import Report
from mutua.model.inbound import PortConflict, port_conflicts
from mutua.model.snapshot import MeshSnapshot

MOST_TOLD: Final = 16
"""Events of one change; the log has all of them."""

log = logging.getLogger(__name__)


class PortConflicts:
    """What is known of conflicts between Services.

    Attributes:
        known: Those of the last state that was examined.
    """

    def __init__(self, find: Callable[[str, str], Object | None], report: Report) -> None:
        """Prepare.

        Args:
            find: Returns the Service of a namespace with a name, as stored.
            report: Makes an Event.
        """
        self.known: frozenset[PortConflict] = frozenset()
        self._find = find
        self._report = report
        self._seen: tuple[object, object] = (None, None)

    def examine(self, snapshot: MeshSnapshot) -> None:
        """Tell what is new, and what is over."""
        services, workloads = self._seen
        if services is snapshot.services and workloads is snapshot.workloads:
            return
        self._seen = snapshot.services, snapshot.workloads
        before = self.known
        self.known = port_conflicts(snapshot.services, snapshot.workloads.values())
        for one in sorted(before - self.known):
            log.info("services fit together again", extra=_described(one))
        for number, one in enumerate(sorted(self.known - before)):
            log.warning("services conflict", extra=_described(one))
            obj = self._find(one.service.namespace, one.service.name)
            if obj is not None and number < MOST_TOLD:
                self._report(obj, "Warning", "PortConflict", _text(one))

    @property
    def protocol_conflicts(self) -> int:
        """Number of container ports on whose protocol Services disagree, by pair of them."""
        return sum(bool(one.protocols) for one in self.known)


def _described(one: PortConflict) -> dict[str, str]:
    name = f"{SERVICES} {one.service.namespace}/{one.service.name}"
    return {"object": name, "reason": _text(one)}


def _text(one: PortConflict) -> str:
    older = f"port {one.older_port} of the older Service {one.older.name}"
    text = f"port {one.port} and {older} lead to port {one.target} of the same pods"
    if one.protocols:
        younger, counting = one.protocols
        return f"{text} and disagree on its protocol ({younger}, {counting}): {counting} counts"
    return f"{text} under different numbers"
