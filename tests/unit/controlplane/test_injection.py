"""The admission hook: which pods are changed, and how."""

from copy import deepcopy
from typing import Any

import pytest

from mutua.api.kinds import kind_of
from mutua.api.object import NAMESPACES, PODS, SERVICES, Object
from mutua.api.schema import unknown_fields
from mutua.api.validation import validate
from mutua.api.verdict import Invalid
from mutua.controlplane.injection import SidecarInjector
from mutua.controlplane.proxy_container import InjectionSettings, inject, is_injected
from mutua.store.memory import MemoryStore
from mutua.testing.clock import ManualClock

ENABLED = {"istio-injection": "enabled"}


def namespace(labels: dict[str, str], name: str = "shop") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }


def pod(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "app", "image": "app"}], **spec},
    }


async def admitted(labels: dict[str, str], obj: Object) -> Object:
    store = MemoryStore(ManualClock())
    await store.create(NAMESPACES, namespace(labels))
    return await SidecarInjector(store)(PODS, obj, None)


async def test_a_pod_of_an_enabled_namespace_gets_a_proxy_and_its_author_object_stays() -> None:
    author = pod()
    before = deepcopy(author)

    stored = await admitted(ENABLED, author)

    assert [one["name"] for one in stored["spec"]["containers"]] == ["app", "istio-proxy"]
    assert is_injected(stored)
    assert author == before


async def test_a_pod_that_is_not_injected_is_stored_as_written() -> None:
    author = pod()

    assert await admitted({}, author) is author


async def test_a_pod_is_told_the_trust_domain_of_the_moment_it_is_created() -> None:
    store = MemoryStore(ManualClock())
    await store.create(NAMESPACES, namespace(ENABLED))
    domains = iter(["td1", "td2"])
    hook = SidecarInjector(store, lambda: InjectionSettings(trust_domain=next(domains)))

    pods = [await hook(PODS, pod(), None) for _ in range(2)]

    assert [
        [
            one["value"]
            for one in made["spec"]["containers"][1]["env"]
            if one["name"] == "TRUST_DOMAIN"
        ]
        for made in pods
    ] == [["td1"], ["td2"]]


async def test_other_kinds_and_updates_pass() -> None:
    hook = SidecarInjector(MemoryStore(ManualClock()))
    service, injected = {"kind": "Service"}, pod()

    assert await hook(SERVICES, service, None) is service
    assert await hook(PODS, injected, injected) is injected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sidecar.istio.io/status", None),
        ("sidecar.istio.io/status", "{}"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "443"),
        ("sidecar.istio.io/interceptionMode", "NONE"),
    ],
)
async def test_what_the_node_started_a_pod_with_does_not_change(
    name: str, value: str | None
) -> None:
    old = await admitted(ENABLED, pod())
    new = deepcopy(old)
    new["metadata"]["annotations"].pop(name, None)
    if value is not None:
        new["metadata"]["annotations"][name] = value
    hook = SidecarInjector(MemoryStore(ManualClock()))

    with pytest.raises(Invalid, match="may not change"):
        await hook(PODS, new, old)


async def test_other_annotations_of_an_injected_pod_change_freely() -> None:
    old = await admitted(ENABLED, pod())
    new = deepcopy(old)
    new["metadata"]["annotations"]["note"] = "checked"

    assert await SidecarInjector(MemoryStore(ManualClock()))(PODS, new, old) is new


async def test_a_copy_of_an_injected_pod_is_injected_once() -> None:
    original = await admitted(ENABLED, pod())

    assert await admitted(ENABLED, original) == original


async def test_a_copy_of_an_injected_pod_loses_its_proxy_where_there_is_no_injection() -> None:
    copy = await admitted({}, await admitted(ENABLED, pod()))

    assert [one["name"] for one in copy["spec"]["containers"]] == ["app"]
    assert copy["spec"]["volumes"] == []
    assert "security.istio.io/tlsMode" not in copy["metadata"]["labels"]
    assert not is_injected(copy)


async def test_what_istioctl_kube_inject_made_is_replaced() -> None:
    theirs = pod(
        {"security.istio.io/tlsMode": "istio"},
        {"sidecar.istio.io/status": '{"containers":["istio-proxy"]}'},
        initContainers=[{"name": "istio-init"}, {"name": "migrate"}],
        containers=[{"name": "istio-proxy", "command": ["evil"]}, {"name": "app"}],
        volumes=[{"name": "istio-token"}, {"name": "data"}],
    )

    ours = await admitted(ENABLED, theirs)

    spec = ours["spec"]
    assert [one["name"] for one in spec["containers"]] == ["app", "istio-proxy"]
    assert [one["name"] for one in spec["initContainers"]] == ["migrate"]
    assert [one["name"] for one in spec["volumes"]] == ["data", "istio-podinfo", "istio-token"]
    assert "command" not in spec["containers"][1]


@pytest.mark.parametrize(
    ("labels", "spec", "path"),
    [
        pytest.param(
            {},
            {"containers": [{"name": "istio-proxy"}]},
            "spec.containers[0].name",
            id="a proxy of one's own without injection",
        ),
        pytest.param(
            {},
            {"initContainers": [{"name": "istio-proxy"}]},
            "spec.initContainers[0].name",
            id="an init container with that name",
        ),
        pytest.param(
            ENABLED,
            {"containers": [{"name": "app"}, {"name": "istio-proxy", "command": ["sh"]}]},
            "spec.containers[1].command",
            id="another program for the proxy",
        ),
        pytest.param(
            ENABLED,
            {"containers": [{"name": "istio-proxy", "env": [{"name": "LD_PRELOAD"}]}]},
            "spec.containers[0].env",
            id="environment for the proxy",
        ),
        pytest.param(
            ENABLED,
            {"initContainers": [{"name": "istio-proxy"}]},
            "spec.initContainers[0].name",
            id="an init container with that name beside the proxy",
        ),
    ],
)
async def test_nobody_else_is_called_istio_proxy(
    labels: dict[str, str], spec: dict[str, Any], path: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await admitted(labels, pod(**spec))

    assert [error.path for error in refusal.value.errors] == [path]


async def test_an_annotation_that_cannot_be_enforced_refuses_the_pod() -> None:
    name = "traffic.sidecar.istio.io/excludeInboundPorts"

    with pytest.raises(Invalid) as refusal:
        await admitted(ENABLED, pod(annotations={name: "80,http"}))

    assert str(refusal.value) == (
        f'metadata.annotations[{name}]: Invalid value: "80,http": '
        "'http' is not a port from 1 to 65535"
    )


async def test_the_same_annotation_does_not_matter_where_there_is_no_injection() -> None:
    await admitted({}, pod(annotations={"traffic.sidecar.istio.io/excludeInboundPorts": "x"}))


def test_the_injected_pod_is_one_the_api_server_accepts_without_a_warning() -> None:
    injected = inject(pod({"app": "web"}), InjectionSettings())
    kind = kind_of(PODS)

    verdict = validate(kind, injected)

    assert unknown_fields(kind, injected) == []
    assert [str(error) for error in verdict.errors] == []
    assert verdict.warnings == []
