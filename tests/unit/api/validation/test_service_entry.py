# ruff: noqa: E501 - tables read better in one line per row
"""ServiceEntry: Istio's ValidateServiceEntry, row by row, and what an author is told."""

from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import SERVICE_ENTRIES, Object
from mutua.api.service_entry import ServiceEntry, hosts_without_address, parse_service_entry
from mutua.api.validation import validate
from mutua.api.verdict import Verdict


def entry(labels: Any = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": "x", "namespace": "shop", "labels": labels or {}},
        "spec": {"hosts": ["api.example.com"], "ports": [HTTP], **spec},
    }


def judge(**spec: Any) -> Verdict:
    return validate(kind_of(SERVICE_ENTRIES), entry(**spec))


def port(number: int = 80, protocol: str = "HTTP", name: str = "p", **fields: Any) -> Object:
    return {"number": number, "name": name, "protocol": protocol, **fields}


def static(*endpoints: Any, **spec: Any) -> Object:
    return {"resolution": "STATIC", "endpoints": list(endpoints) or [PLACE], **spec}


def by_name(*endpoints: Any, **spec: Any) -> Object:
    return {"resolution": "DNS", "endpoints": list(endpoints), **spec}


HTTP = port()
PLACE = {"address": "10.0.0.1"}
SELECTOR = {"labels": {"app": "web"}}
TWO = ["a.com", "b.com"]

# fmt: off
REFUSED = [
    # hosts
    ({"hosts": []},                                       "spec.hosts: Required value"),
    ({"hosts": ["*"]},                                    "spec.hosts[0]: Invalid value"),
    ({"hosts": ["a.com", "*b.com"]},                      "spec.hosts[1]: Invalid value"),
    ({"hosts": ["*-b.com"]},                              "spec.hosts[0]"),
    ({"hosts": ["a.*.com"]},                              "spec.hosts[0]"),
    ({"hosts": ["a_b.com"]},                              "spec.hosts[0]"),
    ({"hosts": ["a.com."]},                               "spec.hosts[0]"),
    ({"hosts": ["10.0.0.1"]},                             "spec.hosts[0]"),
    ({"hosts": [f"{'a' * 64}.com"]},                      "spec.hosts[0]"),
    ({"hosts": ["a." * 127 + "comm"]},                    "spec.hosts[0]"),
    ({"hosts": ["a.com"] * 257},                          "at most 256"),
    (by_name(hosts=["a.com", "*.b.com"]),                 'spec.hosts[1]: Invalid value: "*.b.com": cannot be a wildcard'),
    # addresses
    ({"addresses": ["web"]},                              "spec.addresses[0]: Invalid value"),
    ({"addresses": ["10.0.0.0/33"]},                      "spec.addresses[0]"),
    (by_name(PLACE, addresses=["10.0.0.0/24"]),           "NONE or STATIC only"),
    ({"addresses": ["240.0.0.0/4"]},                      "overlaps 240.240.0.0/16"),
    # ports
    ({"ports": [{"number": 80}]},                         "spec.ports[0].name: Required value"),
    ({"ports": [{"name": "p"}]},                          "spec.ports[0].number: Required value"),
    ({"ports": [port(0)]},                                "spec.ports[0].number: Invalid value"),
    ({"ports": [port(65536)]},                            "spec.ports[0].number"),
    ({"ports": [port(targetPort=65536)]},                 "spec.ports[0].targetPort"),
    ({"ports": [port(name="a_b")]},                       "spec.ports[0].name: Invalid value"),
    ({"ports": [port(), port(81)]},                       "spec.ports[1].name: Duplicate value"),
    ({"ports": [port(), port(name="q")]},                 "spec.ports[1].number: Duplicate value"),
    ({"ports": [port(protocol="SMTP")]},                  'spec.ports[0].protocol: Unsupported value: "SMTP"'),
    (static(hosts=TWO, ports=[port(), port(81, "TCP", "q")]), "spec.ports[1].protocol: Forbidden"),
    (static(hosts=TWO, ports=[port(protocol="")]),        "spec.ports[0].protocol: Forbidden"),
    # where endpoints come from
    ({"resolution": "DYNAMIC_DNS"},                       'Unsupported value: "DYNAMIC_DNS"'),
    ({"location": "OUTSIDE"},                             'Unsupported value: "OUTSIDE"'),
    ({"endpoints": [PLACE]},                              "spec.endpoints: Forbidden"),
    (static(workloadSelector=SELECTOR),                   "spec.workloadSelector: Forbidden"),
    (static(workloadSelector={}),                         "spec.workloadSelector: Forbidden"),
    ({"workloadSelector": {"labels": {"a": "*"}}},        "wildcards are not supported"),
    ({"workloadSelector": {"labels": {"": "a"}}},         "empty key"),
    ({**by_name(PLACE, PLACE), "resolution": "DNS_ROUND_ROBIN"}, "takes at most one"),
    # endpoints
    (static({}),                                          "spec.endpoints[0].address: Required value"),
    (static({"network": "n"}),                            "spec.endpoints[0].address: Required value"),
    (static(PLACE, {"address": "a.com"}),                 "spec.endpoints[1].address: Invalid value"),
    (static({"address": "unix:///run/x"}),                "spec.endpoints[0].address: Forbidden"),
    (static({"address": "10.0.0.0/24"}),                  "must be an IP address"),
    (by_name({"address": "*.a.com"}),                     "an IP address or a DNS name"),
    (by_name({"address": "a_b"}),                         "an IP address or a DNS name"),
    (static({**PLACE, "ports": {"q": 80}}),               "spec.endpoints[0].ports[q]: Invalid value"),
    (static({**PLACE, "ports": {"p": 0}}),                "spec.endpoints[0].ports[p]: Invalid value"),
    (static({**PLACE, "labels": {"a": "b c"}}),           "spec.endpoints[0].labels"),
    (static({**PLACE, "serviceAccount": "a" * 254}),      "no more than 253"),
    (static(*[PLACE] * 4097),                             "at most 4096"),
    # exportTo
    ({"exportTo": [".", "shop"]},                         "spec.exportTo[1]: Duplicate value"),
    ({"exportTo": ["*", "x"]},                            "cannot be combined"),
    ({"exportTo": ["~", "."]},                            "cannot be combined"),
    ({"exportTo": ["a/b"]},                               "spec.exportTo[0]: Invalid value"),
]
ACCEPTED = [
    {},
    {"hosts": ["*.example.com", "EXAMPLE.com", "db"]},
    {"hosts": TWO, "ports": [port(protocol="TCP", number=3306)], "addresses": ["10.0.0.0/24"]},
    {"addresses": ["10.0.0.1", "10.1.0.0/16", "240.240.0.7"]},
    {"ports": [port(protocol=one, name=one.lower().replace("_", "-"), number=n) for n, one in enumerate(("http", "HTTPS", "Grpc-Web", "HTTP_PROXY"), 1)]},
    static(PLACE, {"address": "10.0.0.2", "ports": {"p": 8080}, "labels": {"version": "v1"}, "serviceAccount": "a"}, location="MESH_INTERNAL"),
    static(hosts=TWO, ports=[port(443, "TLS"), port(80, "HTTP", "q")]),
    static(hosts=["*.example.com"]),
    by_name({"address": "web.shop.svc.cluster.local"}, PLACE),
    by_name(PLACE, hosts=["*.example.com"]),
    {**by_name({"address": "a.com"}), "resolution": "DNS_ROUND_ROBIN"},
    {"resolution": "STATIC", "workloadSelector": SELECTOR, "location": "MESH_INTERNAL"},
    static(exportTo=["*"]),
    static(exportTo=["~"]),
    static(exportTo=[".", "other"]),
    static(subjectAltNames=["spiffe://cluster.local/ns/a/sa/b"]),
]
WARNED = [
    ({},                                                  []),
    ({"ports": []},                                       ["spec.ports: there are none"]),
    ({"ports": [port(53, "UDP")]},                        ["spec.ports[0].protocol: has no effect"]),
    ({"ports": [port(targetPort=8080)]},                  ["spec.ports[0].targetPort: has no effect"]),
    ({"ports": [port(25, "TCP")]},                        ["spec.ports[0]: without spec.addresses"]),
    ({"ports": [port(25, "")]},                           ["spec.ports[0]: without spec.addresses"]),
    ({"ports": [port(25, "TCP")], "addresses": ["10.0.0.1"]}, []),
    (static(ports=[port(25, "TCP")]),                     []),
    (static(ports=[port(25, "TCP")], labels={"networking.istio.io/enable-autoallocate-ip": "False"}), ["spec.ports[0]: without spec.addresses"]),
    ({"addresses": ["fd00::1"]},                          ["spec.addresses: fd00::1 has no effect"]),
    ({"workloadSelector": SELECTOR, "location": "MESH_INTERNAL"}, ["spec.workloadSelector: should not be set with resolution NONE"]),
    ({"resolution": "STATIC", "workloadSelector": {}, "location": "MESH_INTERNAL"}, ["spec.workloadSelector: has no labels"]),
    ({"resolution": "STATIC", "workloadSelector": SELECTOR}, ["spec.location: what is MESH_EXTERNAL"]),
    ({"resolution": "STATIC"},                            ["spec.endpoints: there are none"]),
    ({"resolution": "DNS"},                               ["spec.endpoints: without any"]),
    (static({**PLACE, "serviceAccount": "a"}),            ["spec.location: what is MESH_EXTERNAL"]),
    (static({**PLACE, "labels": {"security.istio.io/tlsMode": "istio"}}), ["spec.location: what is MESH_EXTERNAL"]),
    (static({**PLACE, "labels": {"security.istio.io/tlsMode": "disabled"}, "serviceAccount": "a"}), []),
    (static({**PLACE, "weight": 2, "locality": "a", "network": "b"}), ["spec.endpoints[0].weight: has no effect", "spec.endpoints[0].locality: has no effect", "spec.endpoints[0].network: has no effect"]),
    (static({"address": "fd00::1"}),                      ["spec.endpoints[0].address: fd00::1 has no effect"]),
]
# fmt: on


@pytest.mark.parametrize(("spec", "said"), REFUSED)
def test_refused(spec: dict[str, Any], said: str) -> None:
    verdict = judge(**spec)

    assert any(said in str(error) for error in verdict.errors), [*map(str, verdict.errors)]


@pytest.mark.parametrize("spec", ACCEPTED)
def test_accepted_and_understood(spec: dict[str, Any]) -> None:
    assert judge(**spec).errors == []
    assert isinstance(parse_service_entry(entry(**spec)), ServiceEntry)


@pytest.mark.parametrize(("spec", "said"), WARNED)
def test_warned(spec: dict[str, Any], said: list[str]) -> None:
    verdict = judge(**spec)

    assert verdict.errors == []
    assert [w[: len(s)] for w, s in zip(verdict.warnings, said, strict=True)] == said


def test_an_entry_without_spec_is_refused() -> None:
    verdict = validate(kind_of(SERVICE_ENTRIES), {"metadata": {"name": "x", "namespace": "shop"}})

    assert [*map(str, verdict.errors)] == ["spec.hosts: Required value"]


@pytest.mark.parametrize(
    ("spec", "hosts"),
    [
        (static(hosts=["A.com", "a.com", "*.b.com", "c"]), ("a.com", "c")),
        (by_name(), ("api.example.com",)),
        ({}, ()),
        (static(addresses=["10.0.0.1"]), ()),
        (static(labels={"networking.istio.io/enable-autoallocate-ip": "false"}), ()),
        (static(labels={"networking.istio.io/enable-autoallocate-ip": "true"}), ("api.example.com",)),
    ],
)  # fmt: skip
def test_hosts_that_are_given_an_address(spec: dict[str, Any], hosts: tuple[str, ...]) -> None:
    assert hosts_without_address(entry(**spec)) == hosts


def test_an_entry_reads_the_addresses_of_its_hosts() -> None:
    obj = entry(**static(hosts=["A.com"], ports=[port(443, "TLS", "https", targetPort=8443)]))
    obj["status"] = {"addresses": [{"host": "A.com", "value": "240.240.0.1"}]}

    read = parse_service_entry(obj)

    assert read.hosts == ("a.com",)
    assert read.allocated == {"a.com": ("240.240.0.1",)}
    assert [(p.number, p.target) for p in read.ports] == [(443, 8443)]
