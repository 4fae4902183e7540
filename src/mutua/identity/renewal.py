"""When a workload certificate must be replaced.

The agent asks this module one question: given a certificate's validity, at which instant should
the next signing request leave?  The answer is a pure function, so a whole fleet's renewal schedule
can be computed and property-tested without a clock, an authority or an event loop.

    notBefore              half-life              notAfter
        |----------------------|----------------------|
                          [~~~~~~~~~]
                         renewal window

Why half-life: the remaining half is the time an operator has to repair a broken authority before
workloads go dark.  Why jitter: certificates issued together (a rollout, a node reboot) must not
come back together.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

RENEWAL_FRACTION: Final = 0.5
"""Share of the lifetime after which renewal is due (dimensionless).

Source: ztunnel src/tls/certificate.rs `refresh_at`; istio SECRET_GRACE_PERIOD_RATIO.
"""

JITTER_FRACTION: Final = 0.1
"""Half-width of the renewal window, as a share of the half-life (dimensionless).

Source: SPIRE pkg/common/rotationutil `jitterHalfLifeDelta`.
"""

SHORTEST: Final = timedelta(minutes=1)
"""Effective lifetime that is not halved any more: who has less left has to be renewed now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The closed interval in which a certificate may be presented.

    Attributes:
        not_before: First valid instant, UTC.
        not_after: Last valid instant, UTC.
    """

    not_before: datetime
    not_after: datetime

    def __post_init__(self) -> None:
        if self.not_before.tzinfo is None or self.not_after.tzinfo is None:
            raise ValueError("certificate instants must be timezone-aware")
        if self.not_after <= self.not_before:
            raise ValueError(f"empty validity: {self.not_before} .. {self.not_after}")

    @property
    def lifetime(self) -> timedelta:
        """The length of the interval."""
        return self.not_after - self.not_before


def effective_ttl(ttl: timedelta, left: timedelta) -> timedelta:
    """Return what certificates live at least, as their signer's end shortens them.

    In steps of a half, because proxies are told and should not be all the time.

    Args:
        ttl: What they would live.
        left: Until the signer's end.
    """
    while ttl > max(left, SHORTEST):
        ttl /= 2
    return ttl


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When one certificate is to be replaced.

    Attributes:
        validity: The certificate's own interval.
        renew_at: The instant fixed by `schedule`, UTC.
    """

    validity: Validity
    renew_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Tell whether the certificate should be replaced now.

        A certificate from the future is due too: it was issued before the clock was set back, and
        no peer accepts it.
        """
        return now >= self.renew_at or now < self.validity.not_before


def schedule(validity: Validity, *, draw: float) -> Schedule:
    """Fix the renewal of a certificate, once, on receipt.

    Args:
        validity: The certificate's own notBefore and notAfter.
        draw: A uniform draw in [0, 1).

    Raises:
        ValueError: See `renewal_instant`.
    """
    return Schedule(validity=validity, renew_at=renewal_instant(validity, draw=draw))


def renewal_instant(validity: Validity, *, draw: float) -> datetime:
    """Return the instant at which this certificate should be renewed.

    The instant is fixed for the life of the certificate: callers compute it once, on receipt,
    rather than re-rolling the jitter on every check.

    Args:
        validity: The certificate's own notBefore and notAfter.
        draw: A uniform draw in [0, 1), taken once per certificate.  It is an argument so that
            tests pin the edges of the window instead of seeding a generator.

    Returns:
        A UTC instant in [45 %, 55 %) of the lifetime, whatever the current time: an instant in the
        past means "renew now".

    Raises:
        ValueError: `draw` is outside [0, 1).  A bug in the caller, hence not a MutuaError.
    """
    if not 0 <= draw < 1:
        raise ValueError(f"draw must be in [0, 1), got {draw}")
    half_life = validity.lifetime * RENEWAL_FRACTION
    offset = half_life * JITTER_FRACTION * (2 * draw - 1)
    return validity.not_before + half_life + offset
