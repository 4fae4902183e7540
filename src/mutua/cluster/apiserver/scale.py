"""The scale of a Deployment: how many replicas, as an object of its own (autoscaling/v1 Scale).

`kubectl scale` patches it, so that nobody needs to know where a kind keeps its replicas.
"""

from typing import Any

from mutua.api.object import Object
from mutua.api.patch import MERGE, merge
from mutua.api.selectors import read_label_selector
from mutua.api.verdict import Invalid, invalid
from mutua.cluster.apiserver import body
from mutua.cluster.apiserver.call import Call
from mutua.cluster.apiserver.message import Response
from mutua.cluster.apiserver.objects import Objects
from mutua.cluster.apiserver.render import json_response
from mutua.cluster.apiserver.status import Refusal, bad_request, method_not_allowed


async def answer_scale(call: Call, objects: Objects) -> Response:
    """Answer a call for a scale.

    Raises:
        MutuaError: It is refused.
    """
    match call.verb:
        case "get":
            return json_response(_scale(await objects.read(call)))
        case "update":
            wish = body.decode_object(call.request)
        case "patch":
            if body.media_type(call.request) != MERGE:
                raise Refusal(415, "UnsupportedMediaType", f"a scale accepts {MERGE} only")
            wish = body.decode_json(call.request.body)
        case _:
            raise method_not_allowed()

    def apply(old: Object) -> Object:
        scale = merge(_scale(old), wish) if call.verb == "patch" else wish
        return _scaled(old, scale)

    return json_response(_scale(await objects.change(call, apply)))


def _scale(obj: Object) -> Object:
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in shown if key in metadata},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": status.get("replicas", 0),
            "selector": _selector_text(spec.get("selector") or {}),
        },
    }


def _scaled(obj: Object, scale: Any) -> Object:
    if not isinstance(scale, dict):
        raise bad_request("a scale must be an object")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        detail = "must be greater than or equal to 0"
        raise Invalid([invalid("spec.replicas", replicas, detail)])
    version = (scale.get("metadata") or {}).get("resourceVersion")
    metadata = obj["metadata"] | ({"resourceVersion": version} if version else {})
    return obj | {"metadata": metadata, "spec": obj["spec"] | {"replicas": replicas}}


def _selector_text(selector: Object) -> str:
    requirements = read_label_selector({"matchLabels": selector.get("matchLabels")}).requirements
    return ",".join(f"{r.key}={next(iter(r.values), '')}" for r in requirements)
