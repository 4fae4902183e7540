"""`kube-inject`: manifests with the sidecar written into them.

The API injects by itself where a namespace asks for it; this shows what it adds, and asks for it
pod by pod.  What the API stores is its own injection again: a proxy that holds keys is never taken
from a manifest.  So every template is also labelled sidecar.istio.io/inject=true, by which the API
knows that somebody wants one.

Documents that hold no pods pass through unchanged, to the letter.
"""

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import click
import yaml

from mutua.api.object import Object
from mutua.api.verdict import Invalid
from mutua.cli.istioctl.scope import Scope, check_revision, scoped
from mutua.cli.manifests import parse_documents, read_mesh_config_file, read_texts
from mutua.controlplane.proxy_container import InjectionSettings, inject, without_injection
from mutua.foundation.errors import Rejected, Unavailable
from mutua.model.settings import MeshSettings
from mutua.policy.injection import INJECT, INJECTION_LABEL, Verdict, decide

TEMPLATE: Final = ("spec", "template")

TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(("DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"), TEMPLATE),
}  # fmt: skip
"""Where a kind has the text of its pods."""

ENABLED: Final = {INJECTION_LABEL: "enabled"}

SEPARATOR: Final = re.compile(r"^---(?:[ \t].*)?\n?", re.MULTILINE)

FIXED: Final = (
    "--meshConfigMapName", "--injectConfigFile", "--injectConfigMapName", "--valuesFile",
    "--operatorFileName", "--webhookConfig",
)  # fmt: skip
"""istioctl's options for another template, or for settings out of a cluster."""


def _refused(_context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        raise Rejected(f"{parameter.opts[0]}: there is one template, that of this version of mutua")


def _check_revision(_context: click.Context, _parameter: click.Parameter, value: Any) -> None:
    check_revision(value)


def _fixed_options(function: Any) -> Any:
    for name in FIXED:
        function = click.option(name, hidden=True, expose_value=False, callback=_refused)(function)
    short = click.option("-r", "short", hidden=True, expose_value=False, callback=_check_revision)
    return short(function)


@click.command()
@scoped
@_fixed_options
@click.option("-f", "--filename", "source", required=True, metavar="FILE", help="- for stdin.")
@click.option("-o", "--output", metavar="FILE", help="Default: standard output.")
@click.option("--meshConfigFile", "mesh_config", metavar="FILE", help="Settings of the mesh.")
def command(scope: Scope, source: str, output: str | None, mesh_config: str | None) -> None:
    """Write the sidecar into the manifests of FILE, with the settings of the mesh.

    Without a mesh that runs, with those of --meshConfigFile, or else the defaults.
    """
    mesh = read_mesh_config_file(mesh_config) if mesh_config else _settings(scope)
    settings = InjectionSettings(trust_domain=mesh.trust_domain)
    texts = [injected(text, label, settings, scope.namespace) for label, text in read_texts(source)]
    whole = "---\n".join(texts)
    if output is None:
        click.echo(whole, nl=False)
        return
    try:
        Path(output).write_text(whole)
    except OSError as error:
        raise Rejected(f"cannot write {output}: {error.strerror}") from error


def _settings(scope: Scope) -> MeshSettings:
    """Return the settings of the mesh that runs, the defaults when there is none."""
    from mutua.cli.mesh_settings import read_settings

    try:
        with scope.connect() as client:
            return read_settings(client)
    except Unavailable as error:
        click.echo(f"Note: {error}; default settings are assumed", err=True)
        return MeshSettings()


def injected(text: str, label: str, settings: InjectionSettings, namespace: str = "default") -> str:
    """Return a text of manifests with the sidecar in every pod that may have one.

    Args:
        text: YAML or JSON, several documents.
        label: What the text is called.
        settings: Of the mesh's proxies.
        namespace: Where objects go that name none.

    Raises:
        Rejected: It is no YAML, or an annotation of a pod is not acceptable.
    """
    documents, marks = SEPARATOR.split(text), SEPARATOR.findall(text)
    shown = []
    for document in documents:
        values = [value for value, _ in parse_documents(label, document)]
        news = [_with_proxies(value, label, settings, namespace) for value in values]
        is_same = news == values
        shown.append(document if is_same else yaml.safe_dump_all(news, sort_keys=False))
    return shown[0] + "".join(mark + one for mark, one in zip(marks, shown[1:], strict=True))


def _with_proxies(value: Any, label: str, settings: InjectionSettings, namespace: str) -> Any:
    """Return a document with the sidecar in its pods, or an equal one when it has none."""
    if not isinstance(value, dict):
        return value
    if str(value.get("kind")).endswith("List") and isinstance(value.get("items"), list):
        items = [_with_proxies(one, label, settings, namespace) for one in value["items"]]
        return {**value, "items": items}
    path = TEMPLATES.get(str(value.get("kind")))
    if path is None:
        return value
    new = deepcopy(value)
    try:
        place: Any = new
        for key in path:
            place = place[key]
        pod = _pod(place, new, namespace)
        if decide(_asking(pod), pod).verdict is Verdict.INJECT:
            full = inject(without_injection(pod), settings)
            full["metadata"].pop("ownerReferences", None)
            full["metadata"]["labels"].setdefault(INJECT, "true")
            if path:
                for field in ("name", "namespace"):
                    full["metadata"].pop(field, None)
            place.update(full)
    except Invalid as error:
        raise Rejected(f"{label}: {_name(value)}: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise Rejected(f"{label}: {_name(value)}: there is no pod in it") from error
    return new


def _pod(template: Object, owner: Object, namespace: str) -> Object:
    """Return a template as the pod it stands for."""
    metadata = dict(template.get("metadata") or {})
    metadata.setdefault("namespace", owner["metadata"].get("namespace") or namespace)
    if template is not owner:
        metadata["name"] = owner["metadata"]["name"]
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
        metadata["ownerReferences"] = [
            {**reference, "name": owner["metadata"]["name"], "controller": True}
        ]
    return {**template, "metadata": metadata}


def _asking(pod: Object) -> Object:
    """Return a namespace that asks for sidecars: whoever calls this command does."""
    return {"metadata": {"name": pod["metadata"]["namespace"], "labels": ENABLED}}


def _name(obj: Object) -> str:
    return f"{obj['kind']} {(obj.get('metadata') or {}).get('name')}"
