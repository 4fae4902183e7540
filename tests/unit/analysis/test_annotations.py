"""Annotations that mean nothing, or not what they say."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import by_resource, deployment, namespace, pod, service

SHOP = namespace("shop")


def annotated(obj, **annotations):
    obj["metadata"]["annotations"] = {
        name.replace("__", "/").replace("_", "."): value for name, value in annotations.items()
    }
    return obj


def on_template(name: str, value: str):
    return deployment("shop", "web", annotations={name: value})


def on_deployment(name: str, value: str):
    return annotated(deployment("shop", "web")) | {
        "metadata": {"namespace": "shop", "name": "web", "annotations": {name: value}}
    }


def on_service(name: str, value: str):
    web = service("shop", "web", {"name": "http", "port": 80})
    web["metadata"]["annotations"] = {name: value}
    return web


CASES = [
    (on_template("example.com/anything", "x"), []),
    (on_template("proxy.istio.io/config", "{}"), []),
    (on_template("sidecar.istio.io/nativeSidecar", "true"), []),
    (on_template("sidecar.istio.io/inject", "false"), ["IST0135"]),
    (on_service("alpha.istio.io/kubernetes-serviceaccounts", "web"), ["IST0135"]),
    (on_template("sidecar.istio.io/discoveryAddress", "istiod"), ["IST0135"]),
    (on_template("sidecar.istio.io/logLevel", "debug"), ["IST0136"]),
    (on_template("traffic.sidecar.istio.io/excludeInboundPorts", "80"), ["IST0136"]),
    (on_service("networking.istio.io/exportTo", "."), ["IST0136"]),
    (on_deployment("galley.istio.io/analyze-suppress", "IST0102"), []),
    (on_deployment("sidecar.istio.io/inject", "true"), ["IST0107", "IST0135"]),
    (on_service("sidecar.istio.io/logLevel", "debug"), ["IST0107"]),
    (on_template("networking.istio.io/exportTo", "."), ["IST0107"]),
    (on_template("sidecar.istio.io/injekt", "true"), ["IST0108"]),
    (on_service("istio.io/nonsense", "true"), ["IST0108"]),
    (on_template("sidecar.istio.io/inject", "yes"), ["IST0125", "IST0135"]),
    (on_template("sidecar.istio.io/logLevel", "loud"), ["IST0125", "IST0136"]),
    (on_template("traffic.sidecar.istio.io/excludeInboundPorts", "http"), ["IST0125", "IST0136"]),
    (on_template("traffic.sidecar.istio.io/excludeInbound", "80"), ["IST0125"]),
    (on_template("sidecar.istio.io/userVolume", "{}"), ["IST0136"]),
    (on_template("sidecar.istio.io/userVolume", "client"), ["IST0125", "IST0136"]),
    (on_template("sidecar.istio.io/bootstrapOverride", "{}"), ["IST0125"]),
    (on_template("sidecar.istio.io/interceptionMode", "TPROXY"), ["IST0125", "IST0136"]),
]


@pytest.mark.parametrize(("obj", "expected"), CASES)
def test_what_is_found(obj, expected) -> None:
    found = analyze(Mesh(by_resource(SHOP, obj)))

    assert [one.code.code for one in found] == expected


def test_a_misplaced_annotation_is_told_its_place() -> None:
    (one,) = analyze(Mesh(by_resource(SHOP, on_deployment("sidecar.istio.io/logLevel", "off"))))

    assert one.text == (
        "annotation sidecar.istio.io/logLevel means nothing on a Deployment; it belongs on the pod "
        "template"
    )


def test_a_running_pod_that_injection_annotated_is_fine() -> None:
    running = pod("shop", "web", containers=[{"name": "istio-proxy"}])
    running["metadata"]["annotations"] = {
        "sidecar.istio.io/status": "{}",
        "istio.io/rev": "default",
    }

    assert not {"IST0108", "IST0136"} & {
        one.code.code for one in analyze(Mesh(by_resource(SHOP, running)))
    }


def test_an_object_can_suppress_what_is_said_about_it() -> None:
    def said(codes: str) -> list[str]:
        quiet = namespace("shop", "true")
        quiet["metadata"]["annotations"] = {"galley.istio.io/analyze-suppress": codes}
        return [one.code.code for one in analyze(Mesh(by_resource(quiet)))]

    assert said("IST0999") == ["MUT0110"]
    assert said("IST0999, MUT0110") == []
    assert said("*") == []
