"""Injection that does not do what somebody asked for."""

import pytest

from mutua import __version__
from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import by_resource, deployment, namespace, pod

APP = {"name": "app"}


def proxy(version: str = __version__):
    return {"name": "istio-proxy", "image": f"mutua/proxyv2:{version}"}


AUTO = {"name": "istio-proxy", "image": "auto"}


def left_to_injection(obj):
    obj["spec"]["template"]["spec"]["containers"].append(AUTO)
    return obj


def yet_to_be_created(obj):
    del obj["status"]
    return obj


def labelled(name: str, **labels: str):
    return pod("shop", name, meshed=False, containers=[APP], labels=labels)


def wish(value: str):
    return {"sidecar.istio.io/inject": value}


ENABLED = namespace("shop")
UNLABELLED = namespace("shop", None)
DISABLED = namespace("shop", "disabled")
OUTSIDE = pod("shop", "web", meshed=False, containers=[APP])
INSIDE = pod("shop", "web", containers=[APP, proxy()])

CASES = [
    # objects, codes and what they are about
    pytest.param([ENABLED, INSIDE], [], id="a meshed pod of an enabled namespace"),
    pytest.param([DISABLED, OUTSIDE], [], id="a plain pod of a disabled one"),
    pytest.param([UNLABELLED], ["IST0102 Namespace shop"], id="a namespace that says nothing"),
    pytest.param([namespace("kube-system", None)], [], id="Kubernetes' own namespaces"),
    pytest.param([namespace("istio-system", None)], [], id="the root namespace"),
    pytest.param(
        [namespace("shop", **{"istio.io/rev": "default"})],
        ["IST0123 Namespace shop"],
        id="two labels about one question",
    ),
    pytest.param(
        [namespace("shop", "true")],
        ["MUT0110 Namespace shop"],
        id="a value that is neither enabled nor disabled",
    ),
    pytest.param(
        [namespace("shop", None, **{"istio.io/rev": "canary"})],
        ["MUT0110 Namespace shop"],
        id="a revision that nobody has",
    ),
    pytest.param([namespace("shop", None, **{"istio.io/rev": "default"})], [], id="our revision"),
    pytest.param(
        [ENABLED, OUTSIDE], ["IST0103 Pod shop/web"], id="a pod from before its namespace's label"
    ),
    pytest.param(
        [ENABLED, pod("shop", "web", meshed=False, containers=[APP], hostNetwork=True)],
        [],
        id="a pod on the host's network",
    ),
    pytest.param([ENABLED, labelled("web", **wish("false"))], [], id="a pod that opts out"),
    pytest.param([ENABLED, deployment("shop", "web")], [], id="a pod that is yet to be created"),
    pytest.param(
        [DISABLED, labelled("web", **wish("true"))],
        ["MUT0110 Pod shop/web"],
        id="a pod's label that the namespace overrules",
    ),
    pytest.param(
        [UNLABELLED, deployment("shop", "web", annotations=wish("true"))],
        ["IST0102 Namespace shop", "IST0135 Deployment shop/web", "MUT0110 Deployment shop/web"],
        id="an annotation where only a label counts",
    ),
    pytest.param(
        [UNLABELLED, deployment("shop", "web", labels=wish("true"))],
        ["IST0102 Namespace shop"],
        id="a label where it counts",
    ),
    pytest.param(
        [ENABLED, pod("shop", "web", containers=[APP, proxy("0.0.1")])],
        ["IST0158 Pod shop/web"],
        id="a proxy of another version",
    ),
    pytest.param(
        [
            ENABLED,
            pod("shop", "web", containers=[APP, proxy()], securityContext={"runAsUser": 1337}),
        ],
        ["IST0144 Pod shop/web"],
        id="an application that runs as the proxy",
    ),
    pytest.param(
        [DISABLED, left_to_injection(deployment("shop", "web"))],
        ["IST0146 Deployment shop/web"],
        id="a template whose proxy's image nobody will fill in",
    ),
    pytest.param(
        [DISABLED, yet_to_be_created(pod("shop", "web", meshed=False, containers=[APP, AUTO]))],
        ["IST0147 Pod shop/web"],
        id="a manifest of a pod of which the same is true",
    ),
    pytest.param(
        [ENABLED, left_to_injection(deployment("shop", "web"))],
        [],
        id="an image that injection fills in",
    ),
    pytest.param(
        [ENABLED, pod("shop", "web", containers=[APP, AUTO])],
        ["IST0147 Pod shop/web"],
        id="an image that injection did not fill in",
    ),
]


@pytest.mark.parametrize(("objects", "expected"), CASES)
def test_what_is_found(objects, expected) -> None:
    found = analyze(Mesh(by_resource(*objects)))

    assert sorted(f"{one.code.code} {one.origin}" for one in found) == expected


def test_every_pod_without_its_sidecar_is_named_with_the_way_to_give_it_one() -> None:
    owner = {"controller": True, "kind": "ReplicaSet", "name": "web-5d4"}
    labels = {"app": "web", "pod-template-hash": "5d4"}
    pods = [
        pod("shop", f"web-5d4-{n}", meshed=False, containers=[APP], labels=labels) for n in "ab"
    ]
    for one in pods:
        one["metadata"]["ownerReferences"] = [owner]

    found = analyze(Mesh(by_resource(ENABLED, deployment("shop", "web"), *pods)))

    assert [str(one.origin) for one in found] == ["Pod shop/web-5d4-a", "Pod shop/web-5d4-b"]
    assert found[0].text == (
        "has no sidecar although the namespace has label istio-injection=enabled: it was created "
        "before; kubectl rollout restart deploy/web -n shop"
    )


def test_pods_that_are_leaving_are_not_spoken_about() -> None:
    leaving = pod("shop", "web", meshed=False, containers=[APP])
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert analyze(Mesh(by_resource(ENABLED, leaving))) == []
