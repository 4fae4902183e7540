"""Moving a running mesh to another trust domain.

    settings change ──> authority issues the new domain only: new pods have it
                    ──> every connected proxy confirms that it accepts the new domain
                    ──> running workloads get certificates of the new domain

In this order no connection fails, if the old domain is an alias of the new one: until the last
proxy has moved, both are seen.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from mutua.agent.agent import Agent
from mutua.controlplane.controlplane import ControlPlane
from mutua.controlplane.mesh_config import LiveSettings
from mutua.identity.authority import Authority
from mutua.lifecycle.supervisor import Ready

PATIENCE: Final = 30.0
"""Seconds after which a proxy that confirms nothing holds the others back no longer."""

log = logging.getLogger(__name__)


class TrustDomainFollower:
    """Keeps authority and workloads in the trust domain of the settings."""

    def __init__(
        self,
        settings: LiveSettings,
        authority: Authority,
        control_plane: ControlPlane,
        agent: Agent,
    ) -> None:
        """Follow `settings`; running workloads move only while `run` does."""
        self._settings = settings
        self._authority = authority
        self._control_plane = control_plane
        self._agent = agent
        self._moved = asyncio.Event()
        settings.subscribe(self._changed)

    async def run(self, ready: Ready) -> None:
        """Move running workloads until cancelled."""
        if any(one.workload.identity.trust_domain != self._domain for one in self._agent.status()):
            self._moved.set()  # it changed while nobody followed
        ready()
        while True:
            await self._moved.wait()
            self._moved.clear()
            domain = self._domain
            await self._wait_until_accepted()
            if domain == self._domain:
                self._move(domain)

    @property
    def _domain(self) -> str:
        return self._settings.current.trust_domain

    def _changed(self) -> None:
        domain = self._domain
        if domain != self._authority.trust_domain:
            self._authority.trust_domain = domain
            self._moved.set()

    async def _wait_until_accepted(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._control_plane.wait_followed()
        except TimeoutError:
            log.warning("not every proxy has confirmed the new trust domain")

    def _move(self, domain: str) -> None:
        workloads = [one.workload for one in self._agent.status()]
        for workload in workloads:
            self._agent.rename(workload.uid, replace(workload.identity, trust_domain=domain))
        log.info("trust domain changed", extra={"trust_domain": domain, "count": len(workloads)})
