"""Settings of the whole mesh, followed live: ConfigMap `istio` of namespace `istio-system`.

    ConfigMap ──> checks ──> LiveSettings ──> control plane, injector, authority, sidecars
                     │ wrong: the last good settings stay, and an Event says what is wrong

Admission refuses a wrong text, so one can only come from a store of somebody else's.  Without a
ConfigMap the defaults hold; the one difference is the trust domain, which stays the one that the
mesh was created with: an accident with kubectl must not take everybody's identity away.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Literal

from mutua.api.mesh_config import CaCertificate, MeshConfig
from mutua.api.object import CONFIG_MAPS, Object, Resource
from mutua.api.validation.mesh_config import (
    KEY,
    NAME,
    NAMESPACE,
    PATH,
    is_mesh_config,
    read_mesh_config,
)
from mutua.api.verdict import Invalid, Verdict, invalid
from mutua.foundation.errors import Rejected
from mutua.identity.bundle import TrustBundle, bundle_of
from mutua.identity.keys import Malformed
from mutua.identity.peer_authority import read_peer_authority
from mutua.lifecycle.supervisor import Ready
from mutua.model.settings import MeshSettings
from mutua.store.mirror import Change, Mirror
from mutua.store.port import AlreadyExists, ObjectStore

FIRST_TEXT: Final = """\
# Settings of the whole mesh: Istio's MeshConfig.  Changes take effect at once.
accessLogFile: ""
enableAutoMtls: true
meshMTLS:
  ecdhCurves:
  - X25519MLKEM768
  - X25519
  - P-256
  minProtocolVersion: TLS_AUTO
outboundTrafficPolicy:
  mode: ALLOW_ANY
pathNormalization:
  normalization: BASE
rootNamespace: istio-system
trustDomain: {trust_domain}
"""
"""What a new mesh says: its defaults, written down."""

log = logging.getLogger(__name__)

Report = Callable[[Object, Literal["Normal", "Warning"], str, str], None]
"""(the ConfigMap, severity, reason in one word, message) -> an Event."""


async def admit_mesh_config(resource: Resource, obj: Object, _old: Object | None) -> Object:
    """Refuse a MeshConfig with unusable CA certificates (an admission hook).

    Raises:
        Invalid: It has some.
    """
    if resource == CONFIG_MAPS and is_mesh_config(obj):
        try:
            config = read_mesh_config(obj, MeshConfig())
        except Invalid:
            return obj  # validation, which comes next, says all that is wrong
        _check_authorities(config)
    return obj


def peer_authorities(found: Iterable[CaCertificate]) -> TrustBundle:
    """Return what proxies trust besides the mesh's own CA.

    Raises:
        Malformed: One of them is unusable; the mesh's settings have none of that kind.
    """
    bundles = [read_peer_authority(one.pem) for one in found if one.pem]
    return bundle_of((one.roots_pem for one in bundles), "".join(one.crl for one in bundles))


class LiveSettings:
    """The settings in force.  Whoever uses them asks every time, or subscribes.

    Attributes:
        current: They.
    """

    def __init__(self, settings: MeshSettings | None = None) -> None:
        self.current = settings or MeshSettings()
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after every change; it must neither work nor raise.

        Returns:
            Ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def put(self, settings: MeshSettings) -> None:
        """Replace the settings, and tell everybody if they differ."""
        if settings == self.current:
            return
        self.current = settings
        for listener in self._listeners:
            listener()


class MeshConfigFollower:
    """Creates the ConfigMap when there is none, and keeps the live settings equal to it."""

    def __init__(
        self, store: ObjectStore, settings: LiveSettings, report: Report, trust_domain: str = ""
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            store: Where the ConfigMap is.
            settings: Kept up to date; what they are now, a mesh without a ConfigMap has.
            report: Told what became of each version of the ConfigMap.
            trust_domain: What the mesh was asked to have at start, "" for no wish.
        """
        self._store = store
        self._settings = settings
        self._defaults = settings.current
        self._report = report
        self._trust_domain = trust_domain
        self._config_maps = Mirror(store, CONFIG_MAPS, NAMESPACE)

    async def run(self, ready: Ready) -> None:
        """Follow the ConfigMap until cancelled; ready once its settings are in use.

        Raises:
            Rejected: The mesh has another trust domain than it was asked to have.
        """
        await self._create()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._config_maps.run(), name="mirror mesh config")
            await self._config_maps.wait_synced()
            self._config_maps.subscribe(self._changed)
            self._check_trust_domain()
            ready()

    async def _create(self) -> None:
        domain = self._trust_domain or self._defaults.trust_domain
        config_map = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {KEY: FIRST_TEXT.format(trust_domain=domain)},
        }
        try:
            await self._store.create(CONFIG_MAPS, config_map)
        except AlreadyExists:
            return

    def _check_trust_domain(self) -> None:
        found = self._settings.current.trust_domain
        if self._trust_domain not in {"", found}:
            raise Rejected(
                f"this mesh has the trust domain {found}, not {self._trust_domain}",
                hint=f"leave --trust-domain out; kubectl edit cm {NAME} -n {NAMESPACE} changes it",
            )

    def _changed(self, change: Change) -> None:
        config_map = change.object
        if not is_mesh_config(config_map):
            return
        try:
            settings = read_mesh_config(change.after, self._defaults)
            _check_authorities(settings)
        except Invalid as error:
            log.error("mesh config refused", extra={"reason": str(error)})  # noqa: TRY400
            self._report(config_map, "Warning", "Refused", f"{error}; the last good settings stay")
            return
        if change.after is None:
            log.warning("mesh config deleted, defaults in use")
            message = f"defaults are in use: {_gist(settings)}"
            self._report(config_map, "Warning", "Deleted", message)
        elif change.before is not None and settings != self._settings.current:
            log.info("mesh config changed")
            self._report(config_map, "Normal", "Accepted", "the mesh follows these settings")
        self._settings.put(settings)


def _check_authorities(config: MeshConfig) -> None:
    errors = []
    for index, one in enumerate(config.ca_certificates):
        try:
            peer_authorities([one])
        except Malformed as error:
            errors.append(invalid(f"{PATH}.caCertificates[{index}].pem", "", str(error)))
    Verdict(errors=errors).raise_for_errors()


def _gist(settings: MeshSettings) -> str:
    return f"trust domain {settings.trust_domain}, root namespace {settings.root_namespace}"
