"""The CA's keys on disk, one file for each generation, and which of them is in use.

    state.json           which generation signs, which are trusted, the rotation under way
    generation-3.pem     key, certificate of the signer, its chain, trust anchors, revocation lists

A generation's file is written before the state that refers to it, and deleted after the last state
that does, so a crash at any instant leaves a state whose files are all there.  Everything is
written durably and is readable by its owner only (mutua.identity.keyfile).
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Final

from mutua.foundation.clock import Clock, StoppedClock
from mutua.foundation.errors import Rejected
from mutua.identity.bundle import TrustBundle, bundle_of
from mutua.identity.keyfile import (
    Damaged,
    create_file,
    read_credential,
    read_secret,
    replace_file,
    write_credential,
)
from mutua.identity.material import (
    SigningMaterial,
    below,
    read_material,
    self_signed,
)
from mutua.identity.rotation import CaState, Rotation, Stage
from mutua.identity.sealing import Sealer
from mutua.identity.validator import AuthorityExpectation, require_valid_authority
from mutua.identity.x509 import Credential, intermediate_ca, self_signed_ca

ROOT_LIFETIME: Final = timedelta(days=3650)
"""Of a self-signed root.  Source: istio CITADEL_SELF_SIGNED_CA_CERT_TTL."""

INTERMEDIATE_LIFETIME: Final = timedelta(days=365)
"""Of an intermediate below a self-signed root."""

STATE_FILE: Final = "state.json"

FORMER_FILE: Final = "ca.pem"
"""Where the only root was before there were generations."""

FIRST: Final = 1
"""The generation that a mesh starts with."""


class Source(Enum):
    """Where a generation comes from."""

    SELF_SIGNED = "self-signed"
    INTERMEDIATE = "intermediate"
    PLUGGED_IN = "plugged-in"


class KeyStore:
    """The generations of one mesh's CA.  One process writes at a time (the daemon's lock).

    Attributes:
        trust_domain: That the first root was made for.
        state: As saved last.
    """

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        document: Mapping[str, Any],
        *,
        sealer: Sealer | None = None,
    ) -> None:
        """Use `open`."""
        self._sealer = sealer
        self._directory = directory
        self._clock = clock
        self._facts: dict[int, dict[str, Any]] = {
            int(number): facts for number, facts in document["generations"].items()
        }
        self.trust_domain: str = document["trustDomain"]
        self.state = _state(document)

    @classmethod
    def open(
        cls, directory: Path, trust_domain: str, clock: Clock, *, sealer: Sealer | None = None
    ) -> "KeyStore":
        """Open the store of a directory, creating it with a self-signed root when there is none.

        When several processes create it at once, one wins and all use the winner's root.

        Args:
            directory: Readable by its owner only.
            trust_domain: Of a new root.
            clock: Wall time.
            sealer: For the keys; None writes them in clear.

        Raises:
            Damaged: A file is unusable.  It is left as it is.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = directory / STATE_FILE
        if not path.exists():
            _create(directory, trust_domain, clock, sealer)
        try:
            document = json.loads(read_secret(path))
            store = cls(directory, clock, document, sealer=sealer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(
                f"{path}: not the state of a CA ({error})", hint="restore it from a backup"
            ) from error
        for number in {store.state.issuing, *store.state.trusted}:
            store.material(number)
        return store

    def material(self, number: int) -> SigningMaterial:
        """Return what a generation signs with.

        Raises:
            Damaged: Its file cannot be used.
        """
        path, facts = self._path(number), self._facts.get(number)
        if facts is None:
            raise Damaged(f"{self._directory / STATE_FILE}: knows no generation {number}")
        try:
            credential = read_credential(path, sealer=self._sealer)
        except FileNotFoundError as error:
            raise Damaged(f"{path} is missing", hint="restore it from a backup") from error
        material = SigningMaterial(
            signer=credential,
            anchor=facts["anchor"],
            bundle=TrustBundle(tuple(facts["roots"]), facts["crl"]),
        )
        if not material.is_authority:
            raise Damaged(f"{path}: not a certificate authority", hint="restore it from a backup")
        return material

    def source(self, number: int) -> Source:
        """Tell where a generation comes from."""
        return Source(self._facts[number]["source"])

    def bundle(self) -> TrustBundle:
        """Return what is to be trusted in the present state."""
        bundles = [self.material(number).bundle for number in self.state.trusted]
        lists = "".join(dict.fromkeys(one.crl for one in bundles))
        return bundle_of([one.roots_pem for one in bundles], lists)

    def add_root(self) -> int:
        """Make a new self-signed root; return its number.

        Raises:
            InvalidCertificate: The result broke a rule; a bug.
        """
        return self._add(self_signed(_root(self.trust_domain, self._clock)), Source.SELF_SIGNED)

    def add_intermediate(self) -> int:
        """Make a new intermediate below the present self-signed root; return its number.

        Raises:
            Rejected: The present CA is plugged in: the key of its root is not here.
            NotValidNow: The root has expired.
            InvalidCertificate: The result broke a rule; a bug.
        """
        parent = self.state.issuing
        if self.source(parent) is Source.INTERMEDIATE:
            parent = int(self._facts[parent]["parent"])
        if self.source(parent) is Source.PLUGGED_IN:
            raise Rejected(
                "the signing CA is plugged in, and its root's key is not here",
                hint="put the new intermediate into Secret cacerts in istio-system",
            )
        root = self.material(parent)
        clock = StoppedClock(self._clock.now())
        fresh = intermediate_ca(root.signer, lifetime=INTERMEDIATE_LIFETIME, clock=clock)
        require_valid_authority(
            fresh.chain_pem,
            AuthorityExpectation(
                public_key=fresh.key.public,
                signer=root.certificate,
                now=clock.now(),
                ttl=INTERMEDIATE_LIFETIME,
            ),
        )
        return self._add(below(root, fresh), Source.INTERMEDIATE, parent=parent)

    def add_plugged_in(self, files: Mapping[str, str]) -> int:
        """Take over a plugged-in set; return its number.

        Raises:
            UnusableMaterial: See `read_material`.
        """
        return self._add(read_material(files, self._clock.now()), Source.PLUGGED_IN)

    def replace_lists(self, number: int, crl: str) -> None:
        """Give a generation other revocation lists; in force with the next `save`."""
        self._facts[number] = {**self._facts[number], "crl": crl}

    def save(self, state: CaState) -> None:
        """Make this the state, durably; delete the keys that it no longer needs."""
        document = _document(state, self.trust_domain, self._facts)
        replace_file(self._directory / STATE_FILE, document)
        self.state = state
        self._sweep()

    def _add(self, material: SigningMaterial, source: Source, parent: int | None = None) -> int:
        number = max(self._facts) + 1
        write_credential(self._path(number), material.signer, replace=True, sealer=self._sealer)
        self._facts[number] = _facts(material, source, parent)
        return number

    def _sweep(self) -> None:
        rotation = self.state.rotation
        needed = {self.state.issuing, *self.state.trusted}
        needed |= {rotation.origin, rotation.target} if rotation else set()
        needed |= {int(self._facts[n]["parent"]) for n in needed if self._facts[n].get("parent")}
        for path in self._directory.glob("generation-*.pem"):
            match = re.fullmatch(r"generation-(\d+)\.pem", path.name)
            if match and int(match[1]) not in needed:
                path.unlink(missing_ok=True)
        self._facts = {n: facts for n, facts in self._facts.items() if n in needed}

    def _path(self, number: int) -> Path:
        return _path(self._directory, number)


def _create(directory: Path, trust_domain: str, clock: Clock, sealer: Sealer | None) -> None:
    path, former = _path(directory, FIRST), directory / FORMER_FILE
    if former.exists():
        former.rename(path)
    else:
        write_credential(path, _root(trust_domain, clock), sealer=sealer)
    root = read_credential(path, sealer=sealer)  # whoever made it: that is what a restart will find
    material = self_signed(root)
    owner = material.organization or trust_domain
    facts = {FIRST: _facts(material, Source.SELF_SIGNED, None)}
    state = CaState(issuing=FIRST, trusted=(FIRST,))
    create_file(directory / STATE_FILE, _document(state, owner, facts))


def _root(trust_domain: str, clock: Clock) -> Credential:
    clock = StoppedClock(clock.now())
    root = self_signed_ca("", organization=trust_domain, lifetime=ROOT_LIFETIME, clock=clock)
    require_valid_authority(
        root.chain_pem,
        AuthorityExpectation(
            public_key=root.key.public, signer=None, now=clock.now(), ttl=ROOT_LIFETIME
        ),
    )
    return root


def _path(directory: Path, number: int) -> Path:
    return directory / f"generation-{number}.pem"


def _facts(material: SigningMaterial, source: Source, parent: int | None) -> dict[str, Any]:
    return {
        "source": source.value,
        "parent": parent,
        "anchor": material.anchor,
        "roots": list(material.bundle.roots),
        "crl": material.bundle.crl,
    }


def _document(state: CaState, trust_domain: str, facts: Mapping[int, Any]) -> bytes:
    rotation = state.rotation
    document = {
        "trustDomain": trust_domain,
        "issuing": state.issuing,
        "trusted": list(state.trusted),
        "lastRequest": state.last_request,
        "rotation": rotation
        and {
            "id": rotation.id,
            "origin": rotation.origin,
            "target": rotation.target,
            "stage": rotation.stage.value,
            "since": rotation.since.isoformat(),
            "aborted": rotation.aborted,
        },
        "generations": {str(number): one for number, one in facts.items()},
    }
    return json.dumps(document, indent=1).encode()


def _state(document: Mapping[str, Any]) -> CaState:
    found = document["rotation"]
    rotation = found and Rotation(
        id=found["id"],
        origin=found["origin"],
        target=found["target"],
        stage=Stage(found["stage"]),
        since=datetime.fromisoformat(found["since"]),
        aborted=found["aborted"],
    )
    return CaState(
        issuing=document["issuing"],
        trusted=tuple(document["trusted"]),
        rotation=rotation or None,
        last_request=document["lastRequest"],
    )
