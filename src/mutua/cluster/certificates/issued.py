"""What the control plane asks and tells the issuance log about certificates that are out there."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from mutua.api.revocation import Revocation
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.issuance_log import IssuanceLog
from mutua.identity.journal import Issuance
from mutua.identity.rotation import CaState

LOCAL: Final = frozenset({"pod socket", "control plane", "coherence check"})
"""How those authenticate whose certificates this daemon renews itself."""


def held_elsewhere(log: IssuanceLog, signer: str) -> Sequence[str]:
    """Name who got an unexpired certificate over the network, of another CA than `signer`."""
    last: dict[SpiffeId, datetime] = {}
    for other, leaves in log.unexpired_by_signer().items():
        for leaf in leaves if other != signer else ():
            if leaf.authenticated not in LOCAL:
                last[leaf.identity] = max(leaf.not_after, last.get(leaf.identity, leaf.not_after))
    return [f"{identity} elsewhere (until {end:%F %T} UTC)" for identity, end in last.items()]


def issued_about(log: IssuanceLog, what: Revocation) -> Iterable[Issuance]:
    """Return all unexpired certificates that a revocation is about, whoever asked for them."""
    if what.identity is not None:
        return log.unexpired_of(what.identity)
    if what.pod:
        return log.unexpired_of_pod(what.pod)
    leaf = log.unexpired(what.serial)
    return (leaf,) if leaf else ()


def note_state(log: IssuanceLog, state: CaState) -> None:
    """Write a step of a rotation into the issuance log."""
    moving = state.rotation
    log.note(
        "ca",
        issuing=str(state.issuing),
        trusted=",".join(map(str, state.trusted)),
        stage=moving.stage.value if moving else "",
    )
