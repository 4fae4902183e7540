"""The truth table of PeerAuthentication: what both opinions on it are held to.

Specification: istio-semantics section 1.6.  Every row asks about the same pod: namespace `x`,
labels `app: foo` and `tier: a`.
"""

# ruff: noqa: E501 - a table

from dataclasses import dataclass
from typing import Any, Final

from mutua.api.security import MutualTlsMode, PeerAuthentication


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        name: Its number and what it is about.
        policies: What is in force.
        port: The container port that is asked about.
        expected: The mode on it.
    """

    name: str
    policies: tuple[PeerAuthentication, ...]
    port: int
    expected: MutualTlsMode


ROOT: Final = "istio-system"
LABELS: Final = {"app": "foo", "tier": "a"}
UNSET, DISABLE = MutualTlsMode.UNSET, MutualTlsMode.DISABLE
PERMISSIVE, STRICT = MutualTlsMode.PERMISSIVE, MutualTlsMode.STRICT
FOO: Final = {"app": "foo"}


def policy(
    namespace: str,
    mode: MutualTlsMode,
    ports: dict[int, MutualTlsMode] | None = None,
    *,
    at: int = 0,
    name: str = "p",
    selector: dict[str, str] | None = None,
) -> PeerAuthentication:
    """Return a policy created `at` seconds after some instant."""
    return PeerAuthentication(
        namespace=namespace,
        name=name,
        created=f"2026-01-01T00:00:{at:02}Z",
        selector=selector,
        mode=mode,
        port_modes=ports or {},
    )


def mesh(mode: MutualTlsMode, **options: Any) -> PeerAuthentication:
    """Return a policy of the root namespace."""
    return policy(ROOT, mode, **options)


def ns(mode: MutualTlsMode, **options: Any) -> PeerAuthentication:
    """Return a policy of the pod's namespace."""
    return policy("x", mode, **options)


def work(
    mode: MutualTlsMode, ports: dict[int, MutualTlsMode] | None = None, **options: Any
) -> PeerAuthentication:
    """Return a policy that selects the pod."""
    return policy("x", mode, ports, **{"selector": FOO, **options})


# fmt: off
TABLE: Final = (
    Row("1 nothing", (), 1, PERMISSIVE),
    Row("2 mesh STRICT", (mesh(STRICT),), 1, STRICT),
    Row("3 mesh DISABLE", (mesh(DISABLE),), 1, DISABLE),
    Row("4 5 mesh UNSET", (mesh(UNSET),), 1, PERMISSIVE),
    Row("6 namespace beats mesh", (mesh(STRICT), ns(PERMISSIVE),), 1, PERMISSIVE),
    Row("7 namespace UNSET inherits mesh", (mesh(STRICT), ns(UNSET),), 1, STRICT),
    Row("8 namespace UNSET alone", (ns(UNSET),), 1, PERMISSIVE),
    Row("9 namespace beats mesh", (mesh(DISABLE), ns(STRICT),), 1, STRICT),
    Row("10 workload beats namespace", (mesh(STRICT), ns(DISABLE), work(STRICT),), 1, STRICT),
    Row("11 workload beats mesh", (mesh(STRICT), work(PERMISSIVE),), 1, PERMISSIVE),
    Row("12 workload UNSET inherits namespace", (mesh(STRICT), ns(PERMISSIVE), work(UNSET),), 1, PERMISSIVE),
    Row("13 port beats mesh", (mesh(STRICT), work(UNSET, {8080: DISABLE}),), 8080, DISABLE),
    Row("14 another port inherits mesh", (mesh(STRICT), work(UNSET, {8080: DISABLE}),), 9090, STRICT),
    Row("15 port UNSET inherits workload", (work(STRICT, {8080: UNSET}),), 8080, STRICT),
    Row("16 port UNSET inherits workload, not namespace", (ns(DISABLE), work(STRICT, {8080: UNSET}),), 8080, STRICT),
    Row("17 port STRICT", (work(UNSET, {8080: STRICT}),), 8080, STRICT),
    Row("18 another port is default", (work(UNSET, {8080: STRICT}),), 9090, PERMISSIVE),
    Row("19 port PERMISSIVE", (work(DISABLE, {9000: PERMISSIVE}),), 9000, PERMISSIVE),
    Row("20 a Service's port is no container port", (work(STRICT, {80: DISABLE}),), 8080, STRICT),
    Row("21 a target port is one", (work(STRICT, {8080: DISABLE}),), 8080, DISABLE),
    Row("22 the oldest workload policy wins", (work(STRICT), work(DISABLE, at=1),), 1, STRICT),
    Row("23 the younger does not fill gaps", (work(UNSET), work(STRICT, at=1),), 1, PERMISSIVE),
    Row("24 the younger's ports are ignored", (work(STRICT), work(UNSET, {8080: DISABLE}, at=1),), 8080, STRICT),
    Row("25 the oldest namespace policy wins", (ns(PERMISSIVE), ns(STRICT, at=1),), 1, PERMISSIVE),
    Row("26 the younger is dropped", (ns(UNSET), ns(STRICT, at=1),), 1, PERMISSIVE),
    Row("27 the oldest mesh policy wins", (mesh(STRICT), mesh(DISABLE, at=1),), 1, STRICT),
    Row("28 not selected", (work(STRICT, selector={"app": "bar"}),), 1, PERMISSIVE),
    Row("29 root selector is dead", (mesh(STRICT, selector=FOO),), 1, PERMISSIVE),
    Row("33 an empty selector is none", (ns(DISABLE), ns(STRICT, at=1),), 1, DISABLE),
    Row("34 ties go by name", (mesh(STRICT), work(DISABLE, name="a"), work(STRICT, name="b"),), 1, DISABLE),
)
# fmt: on
"""Row by row; rows that need another pod or root namespace are in the tests."""
