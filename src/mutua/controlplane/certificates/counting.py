"""How did a signing request end?  Istio's counters, whoever asked: a pod's agent, or a caller.

    received                  CSRS
    ├─ signed                 ISSUED
    ├─ nobody vouches         AUTHENTICATION_FAILURES (and IDENTITY_ERRORS), impersonation too
    ├─ cannot be read         PARSING_ERRORS
    └─ everything else        SIGNING_ERRORS, by code of the error

Every request is in CSRS and in one of the others.  Handshakes that fail are no requests.

Source: istio security/pkg/server/ca/{server,monitoring}.go.  Deviates from Istio: today's counts a
request that cannot be read among the signing errors, under error="CSR_ERROR", and never identities.
"""

from collections.abc import Callable

from mutua.foundation.errors import MutuaError
from mutua.identity.keys import Malformed
from mutua.telemetry.metrics import PARSING_ERRORS, SIGNING_ERRORS

Count = Callable[[str, str], None]
"""(name of a counter, value of its label or "") -> one more."""


def counter_of(failure: MutuaError) -> tuple[str, str]:
    """Return name and label of the counter of what the authority, or its guard, refused."""
    return (
        (PARSING_ERRORS, "") if isinstance(failure, Malformed) else (SIGNING_ERRORS, failure.code)
    )
