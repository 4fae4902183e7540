import pytest

from mutua.api.annotations import CHECKS, UNSUPPORTED
from mutua.api.verdict import Invalid
from mutua.controlplane.proxy_settings import DEFAULT_RESOURCES, ProxySettings, proxy_settings


def read(annotations: dict[str, str]) -> ProxySettings:
    return proxy_settings({"metadata": {"annotations": annotations}, "spec": {}})


def test_defaults() -> None:
    assert read({}) == ProxySettings(
        log_level="warning", resources=DEFAULT_RESOURCES, readiness={}, is_probed=True
    )


def test_one_resource_annotation_replaces_all_defaults() -> None:
    found = read({"sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyMemoryLimit": "64Mi"})

    assert found.resources == {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}


def test_readiness_can_be_tuned_and_switched_off() -> None:
    tuned = read({"readiness.status.sidecar.istio.io/periodSeconds": "2"})
    off = read({"status.sidecar.istio.io/port": "0"})

    assert (dict(tuned.readiness), tuned.is_probed) == ({"periodSeconds": 2}, True)
    assert not off.is_probed


def test_the_log_level() -> None:
    assert read({"sidecar.istio.io/logLevel": "debug"}).log_level == "debug"


BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
"""Merges 9 copies of 9 copies of …, 31 billion in all."""


@pytest.mark.parametrize("value", ["holdApplicationUntilProxyStarts: true", "{}"])
def test_a_proxy_config_that_asks_for_what_is_done_anyway_is_accepted(value: str) -> None:
    assert read({"proxy.istio.io/config": value}) == read({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sidecar.istio.io/logLevel", "loud"),
        ("sidecar.istio.io/proxyCPU", "much"),
        ("sidecar.istio.io/proxyMemory", "-1Mi"),
        ("sidecar.istio.io/rewriteAppHTTPProbers", "yes"),
        ("readiness.status.sidecar.istio.io/periodSeconds", "2s"),
        ("status.sidecar.istio.io/port", "9"),
        ("proxy.istio.io/config", "concurrency: 4"),
        ("proxy.istio.io/config", "proxyMetadata: {LD_PRELOAD: /evil.so}"),
        ("proxy.istio.io/config", "- a list"),
        ("proxy.istio.io/config", "{"),
        pytest.param("proxy.istio.io/config", "[" * 10_000, id="nested without end"),
        pytest.param("proxy.istio.io/config", BOMB, id="a document that grows"),
        ("proxy.istio.io/config", "holdApplicationUntilProxyStarts: maybe"),
        *((name, "x") for name in UNSUPPORTED),
    ],
)
def test_what_is_malformed_or_not_done_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read({name: value})

    assert [error.path for error in refusal.value.errors] == [f"metadata.annotations[{name}]"]


def test_no_annotation_is_both_supported_and_not() -> None:
    assert not CHECKS.keys() & UNSUPPORTED.keys()


def test_annotations_of_others_are_none_of_our_business() -> None:
    assert read({"example.com/proxy": "{", "sidecar.istio.io/inject": "yes"}) == read({})
