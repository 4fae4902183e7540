"""Manual injection: what is added, and what passes through to the letter."""

import pytest
import yaml

from mutua.cli.istioctl.kube_inject import injected
from mutua.controlplane.proxy_container import InjectionSettings
from mutua.foundation.errors import Rejected

SERVICE = """\
# a comment
apiVersion: v1
kind: Service   # and another
metadata: {name: web}
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: app}]}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: one}
spec: {containers: [{name: app, image: app}]}
"""


def inject(text: str) -> str:
    return injected(text, "web.yaml", InjectionSettings())


def names(spec) -> list[str]:
    return [one["name"] for one in spec["containers"]]


def test_a_template_gets_the_sidecar_and_asks_the_api_for_it() -> None:
    template = yaml.safe_load(inject(DEPLOYMENT))["spec"]["template"]

    assert names(template["spec"]) == ["app", "istio-proxy"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "true"
    assert template["metadata"]["labels"]["service.istio.io/canonical-name"] == "web"
    assert set(template["metadata"]) == {"labels", "annotations"}
    env = {one["name"]: one.get("value") for one in template["spec"]["containers"][1]["env"]}
    assert env["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/shop/deployments/web"


def test_a_pod_keeps_its_name() -> None:
    pod = yaml.safe_load(inject(POD))

    assert (pod["metadata"]["name"], names(pod["spec"])) == ("one", ["app", "istio-proxy"])


def test_other_documents_pass_through_to_the_letter() -> None:
    text = f"---\n{SERVICE}---\n{DEPLOYMENT}--- # the end\n{SERVICE}"

    found = inject(text)

    assert found.startswith(f"---\n{SERVICE}---\napiVersion")
    assert found.endswith(f"--- # the end\n{SERVICE}")
    assert [one["kind"] for one in yaml.safe_load_all(found)] == [
        "Service",
        "Deployment",
        "Service",
    ]
    assert inject(SERVICE) == SERVICE


def test_injection_twice_is_injection_once() -> None:
    once = inject(DEPLOYMENT + "---\n" + POD)

    assert inject(once) == once


def test_the_objects_of_a_list_are_injected() -> None:
    items = [yaml.safe_load(SERVICE), yaml.safe_load(DEPLOYMENT)]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})

    first, second = yaml.safe_load(inject(text))["items"]

    assert first == items[0]
    assert names(second["spec"]["template"]["spec"]) == ["app", "istio-proxy"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("labels: {app: web}", 'labels: {sidecar.istio.io/inject: "false"}'),
        ("labels: {app: web}", 'annotations: {sidecar.istio.io/inject: "false"}'),
        ("spec: {containers", "spec: {hostNetwork: true, containers"),
        ("namespace: shop", "namespace: kube-system"),
    ],
)
def test_what_may_not_be_injected_passes_through(old, new) -> None:
    text = DEPLOYMENT.replace(old, new)

    assert inject(text) == text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            DEPLOYMENT.replace(
                "labels: {app: web}", "annotations: {sidecar.istio.io/logLevel: loud}"
            ),
            "web.yaml: Deployment web: .*logLevel",
        ),
        ("kind: Deployment\nmetadata: {name: web}\nspec: {}\n", "there is no pod in it"),
        ("a: [", "error parsing web.yaml"),
    ],
)
def test_what_cannot_be_injected_is_named(text, complaint) -> None:
    with pytest.raises(Rejected, match=complaint):
        inject(text)
