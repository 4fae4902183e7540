"""Policies to be tried one after another: every mode at every level, every setting of a client.

A state is a PeerAuthentication side and a DestinationRule side.  `PRODUCT` combines each with each;
`SELECTION` takes every one of either side at least once, which is enough to cover every pair of a
call and a policy, since every call is made in every state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, product
from typing import Final

from mutua.api.object import Object
from mutua.testing.reachability.landscape import NAMESPACE, PROXY_FILES, SHIFT
from mutua.testing.reachability.probe import SERVER_NAME

ROOT_NAMESPACE: Final = "istio-system"

MODES: Final = ("STRICT", "PERMISSIVE", "DISABLE")


@dataclass(frozen=True, slots=True)
class State:
    """Policies that are in force together, under a name."""

    name: str
    objects: tuple[Object, ...]


def _wide(mode: str, namespace: str = NAMESPACE) -> Object:
    """Return a PeerAuthentication for all of a namespace, or of the mesh."""
    return _authentication("wide", namespace, {"mtls": {"mode": mode}})


def _narrow(mode: str, ports: str = "") -> Object:
    """Return a PeerAuthentication for the server with a sidecar, perhaps with another on ports."""
    spec: Object = {"selector": {"matchLabels": {"app": "web"}}}
    if mode:
        spec["mtls"] = {"mode": mode}
    if ports:
        spec["portLevelMtls"] = {str(port): {"mode": ports} for port in NAMED_PORTS}
    return _authentication("narrow", NAMESPACE, spec)


def _authentication(name: str, namespace: str, spec: Object) -> Object:
    return _object("security.istio.io/v1", "PeerAuthentication", namespace, name, spec)


def _rule(host: str, *, namespace: str = NAMESPACE, name: str = "wide", **policy: object) -> Object:
    spec: Object = {"host": host, "trafficPolicy": policy}
    return _object("networking.istio.io/v1", "DestinationRule", namespace, name, spec)


def _object(version: str, kind: str, namespace: str, name: str, spec: Object) -> Object:
    meta = {"namespace": namespace, "name": name}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


NAMED_PORTS: Final = (7001, 7002, 7003, 7005, 7006, 7011, 7021, 7022)
"""What port level policies name, two undeclared ones among them; the others keep their mode."""

EVERY_HOST: Final = f"*.{NAMESPACE}.svc.cluster.local"

INSECURE: Final = {"mode": "SIMPLE", "insecureSkipVerify": True}
"""TLS that an application's own certificate satisfies."""

OWN_CERTIFICATE: Final = {
    "mode": "MUTUAL",
    "clientCertificate": f"{PROXY_FILES}/tls.crt",
    "privateKey": f"{PROXY_FILES}/tls.key",
    "caCertificates": f"{PROXY_FILES}/ca.crt",
    "subjectAltNames": [SERVER_NAME],
}
"""TLS between a client and an application that know each other, without the mesh's help."""


def _authentications() -> dict[str, tuple[Object, ...]]:
    sides: dict[str, tuple[Object, ...]] = {"no policy": ()}
    for mode in MODES:
        sides |= {
            f"mesh {mode}": (_wide(mode, ROOT_NAMESPACE),),
            f"namespace {mode}": (_wide(mode),),
            f"workload {mode}": (_narrow(mode),),
            f"ports {mode}": (_narrow("", ports=mode),),
        }
    return sides | {
        # Clients go by the namespace, the server by its own policy: nobody gets through.
        "namespace DISABLE, workload STRICT": (_wide("DISABLE"), _narrow("STRICT")),
        "mesh STRICT, namespace PERMISSIVE, workload DISABLE, ports STRICT": (
            _wide("STRICT", ROOT_NAMESPACE),
            _wide("PERMISSIVE"),
            _narrow("DISABLE", ports="STRICT"),
        ),
    }


def _rules() -> dict[str, tuple[Object, ...]]:
    def at(number: int, policy: Mapping[str, object]) -> list[Object]:
        return [{"port": {"number": one}, **policy} for one in (number, number + SHIFT)]

    disable, mutual = {"mode": "DISABLE"}, {"mode": "ISTIO_MUTUAL"}
    by_port = [
        *at(7003, {"tls": disable}),
        *at(7006, {"tls": INSECURE}),
        # Says nothing about TLS, and yet is not the same as saying nothing.
        *at(7001, {"loadBalancer": {"simple": "ROUND_ROBIN"}}),
    ]
    subset = {"name": "one", "labels": {"app": "web"}, "trafficPolicy": {"tls": disable}}
    with_subset = _rule(EVERY_HOST, loadBalancer={"simple": "ROUND_ROBIN"})
    with_subset["spec"]["subsets"] = [subset]
    return {
        "no rule": (),
        "DISABLE": (_rule(EVERY_HOST, tls=disable),),
        "ISTIO_MUTUAL": (_rule(EVERY_HOST, tls=mutual),),
        "SIMPLE": (_rule(EVERY_HOST, tls=INSECURE),),
        "MUTUAL": (_rule(EVERY_HOST, tls=OWN_CERTIFICATE),),
        "ISTIO_MUTUAL but for some ports": (
            _rule(EVERY_HOST, tls=mutual, portLevelSettings=by_port),
        ),
        "DISABLE but for one host": (
            _rule(EVERY_HOST, tls=disable),
            _rule("web", name="web", tls=mutual),
        ),
        "ISTIO_MUTUAL of the root namespace": (_rule("*", namespace=ROOT_NAMESPACE, tls=mutual),),
        "DISABLE for a subset": (with_subset,),
        "endpoints chosen by address": (_rule(EVERY_HOST, loadBalancer={"simple": "PASSTHROUGH"}),),
    }


def _state(authentication: str, rule: str) -> State:
    return State(f"{authentication}; {rule}", (*AUTHENTICATIONS[authentication], *RULES[rule]))


AUTHENTICATIONS: Final = _authentications()
RULES: Final = _rules()

PRODUCT: Final = tuple(_state(*pair) for pair in product(AUTHENTICATIONS, RULES))
SELECTION: Final = tuple(_state(*pair) for pair in zip(AUTHENTICATIONS, cycle(RULES)))
