"""When do the API's certificates have to be replaced while it serves?

They are new at every start (`credentials`), so there are two reasons: the daemon has run for half
of their life, or the clock was set back, to before they begin.  Then neither kubectl nor the server
would accept the other's until the next start, and nobody could see how the rest is doing.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mutua.cluster.apiserver.credentials import ApiCredentials
from mutua.foundation.clock import Clock
from mutua.foundation.errors import MutuaError
from mutua.identity.renewal import Validity, schedule

TICK: Final = 1.0
"""Seconds between two looks at the clock."""

PAUSE: Final = 5.0
"""Seconds between two attempts that fail."""

log = logging.getLogger(__name__)


class CredentialRenewal:
    """Replaces what the API server and its owner prove themselves with."""

    def __init__(
        self,
        make: Callable[[], ApiCredentials],
        adopt: Callable[[ApiCredentials], None],
        clock: Clock,
    ) -> None:
        """Prepare.

        Args:
            make: Returns new credentials; may raise MutuaError or OSError.
            adopt: Has them used from now on; may raise OSError.
            clock: Wall time.
        """
        self._make = make
        self._adopt = adopt
        self._clock = clock

    async def run(self, present: ApiCredentials) -> None:
        """Look at the clock until cancelled; a failure leaves what is in use.

        Args:
            present: What is in use.
        """
        is_failing = False
        while True:
            await asyncio.sleep(PAUSE if is_failing else TICK)
            if not self._is_due(present):
                is_failing = False
                continue
            try:
                new = self._make()
                self._adopt(new)
            except (MutuaError, OSError) as error:
                if not is_failing:
                    log.warning("the API has no new certificate", extra={"error": str(error)})
                is_failing = True
            else:
                present, is_failing = new, False
                log.info("the API has a new certificate, and the kubeconfig")

    def _is_due(self, present: ApiCredentials) -> bool:
        # The server's was made at the same time, for as long.
        owner = present.admin
        validity = Validity(not_before=owner.not_before, not_after=owner.not_after)
        return schedule(validity, draw=0.5).is_due(self._clock.now())
