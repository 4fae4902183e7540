"""What a MeshConfig may contain, a real Envoy takes; what it may not, would stop everything."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mutua.api.access_log import ARGUMENTS, OPTIONAL, PLAIN, SHORTENED
from mutua.api.mesh_config import AccessLog, PathNormalization, TlsProfile, TlsVersion
from mutua.api.object import ENDPOINT_SLICES, PEER_AUTHENTICATIONS, PODS, SERVICES, Object
from mutua.api.tables.mesh import CIPHERS, CURVES, HYBRID_CURVES
from mutua.foundation.clock import SystemClock
from mutua.foundation.spiffe import SpiffeId
from mutua.identity.authority import Authority
from mutua.identity.csr import new_request
from mutua.model.build import build_snapshot
from mutua.model.settings import MeshSettings
from mutua.testing.configuration import objections
from mutua.testing.mesh import endpoint_slice, peer_authentication, pod, service
from mutua.xds.compile import compile_proxy
from mutua.xds.resource import ProxyResources

ARGUMENT = {
    "START_TIME": "%Y-%m-%dT%H:%M:%S.%3fZ",
    "EMIT_TIME": "%s",
    "FILTER_STATE": "a.b:PLAIN",
    "DYNAMIC_METADATA": "a.b:c:d",
    "REQ": "X-A?:PATH",
}
"""The most that an operator takes; "x" where it takes nothing but a name."""

OPERATORS = [
    *(f"%{name}%" for name in sorted(PLAIN | OPTIONAL)),
    *(f"%{name}({ARGUMENT.get(name, 'x')})%" for name in sorted(ARGUMENTS)),
    *(f"%{name}(x):10%" for name in sorted(SHORTENED)),
    "%%",
]
STDOUT = AccessLog(file="/dev/stdout")
LINE = " ".join(OPERATORS)
FIELDS = json.dumps({"all": {"of": OPERATORS}, "number": 1, "fraction": 0.5, "truth": True})


def compiled(**settings: Any) -> ProxyResources:
    """Return what the proxy of a pod with a port of each kind is given."""
    web = pod("shop", "web", "10.244.0.2")
    kinds = ({"name": name, "port": 80 + n} for n, name in enumerate(("http", "tcp", "any")))
    owner = service("shop", "web", *kinds)
    objects: dict[Any, list[Object]] = {
        PODS: [web],
        SERVICES: [owner],
        ENDPOINT_SLICES: [endpoint_slice(owner, [web])],
        PEER_AUTHENTICATIONS: [peer_authentication("shop", "PERMISSIVE")],
    }
    return compile_proxy(build_snapshot(objects, MeshSettings(**settings)), "shop-web")


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    identity = SpiffeId("cluster.local", "shop", "web")
    authority = Authority.load_or_create(
        tmp_path_factory.mktemp("ca"), identity.trust_domain, SystemClock()
    )
    request = new_request(identity)
    issued = authority.sign(request.csr_pem, identity)
    certificate = {
        "certificate_chain": {"inline_string": issued.chain_pem},
        "private_key": {"inline_string": request.key.pem()},
    }
    trusted = {"trusted_ca": {"inline_string": issued.roots_pem}}
    return [
        {"name": "default", "tls_certificate": certificate},
        {"name": "ROOTCA", "validation_context": trusted},
    ]


ACCEPTED = {
    "every operator in a line": {"access_log": replace(STDOUT, format=LINE)},
    "every operator in an object": {"access_log": replace(STDOUT, encoding="JSON", format=FIELDS)},
    "Istio's line": {"access_log": STDOUT},
    "every cipher and curve": {"mesh_tls": TlsProfile(curves=CURVES, ciphers=CIPHERS)},
    "TLS 1.3 and nothing but the hybrid key exchange": {
        "mesh_tls": TlsProfile(minimum=TlsVersion.TLS_1_3, curves=HYBRID_CURVES)
    },
    "Envoy's own choice of ciphers and curves": {"mesh_tls": TlsProfile()},
    **{f"paths {one.value}": {"path_normalization": one} for one in PathNormalization},
}


@pytest.mark.parametrize("settings", ACCEPTED.values(), ids=ACCEPTED)
def test_envoy_takes_every_setting(
    tmp_path: Path, settings: dict[str, Any], secrets: list[dict[str, Any]]
) -> None:
    assert objections(compiled(**settings), tmp_path, secrets) == ""


REFUSED = {
    "an unknown operator": {"access_log": replace(STDOUT, format="%NO_SUCH%")},
    "an unfinished operator": {"access_log": replace(STDOUT, format="%DURATION")},
    "an argument where none belongs": {"access_log": replace(STDOUT, format="%DURATION(x)%")},
    "a header's name that is none": {"access_log": replace(STDOUT, format="%REQ(a:b)%")},
    "a line's end in a time": {"access_log": replace(STDOUT, format="%START_TIME(%n)%")},
    "an argument that is missing": {"access_log": replace(STDOUT, format="%REQ%")},
    "a file that cannot be opened": {"access_log": AccessLog(file="/nonexistent/log")},
    "an unknown curve": {"mesh_tls": TlsProfile(curves=("P-512",))},
    "an unknown cipher": {"mesh_tls": TlsProfile(ciphers=("RC4-MD5",))},
}


@pytest.mark.parametrize("settings", REFUSED.values(), ids=REFUSED)
def test_one_bad_setting_would_make_envoy_refuse_everything(
    tmp_path: Path, settings: dict[str, Any], secrets: list[dict[str, Any]]
) -> None:
    """The reason why the MeshConfig's parser refuses each of these first."""
    assert objections(compiled(**settings), tmp_path, secrets) != ""
