"""The API, request by request, without HTTP."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutua.api.object import CONFIG_MAPS, PEER_AUTHENTICATIONS
from mutua.cluster.apiserver.message import Response
from mutua.testing import virtual_time

MakeApi = Any  # the fixture's type lives in conftest, which tests cannot import

MAPS = "/api/v1/namespaces/shop/configmaps"
POLICIES = "/apis/security.istio.io/v1/namespaces/shop/peerauthentications"
MERGE = "application/merge-patch+json"


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels or {}},
        "data": data,
    }


def policy(mode: str, version: str = "v1") -> dict[str, Any]:
    return {
        "apiVersion": f"security.istio.io/{version}",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default"},
        "spec": {"mtls": {"mode": mode}},
    }


# fmt: off
REFUSALS = [
    # method, target, body, status, reason
    pytest.param("GET", "/nowhere", None, 404, "NotFound", id="unknown path"),
    pytest.param("GET", "/api/v1/widgets", None, 404, "NotFound", id="unknown kind"),
    pytest.param("GET", "/api/v2/pods", None, 404, "NotFound", id="unknown version"),
    pytest.param("GET", "/api/v1/namespaces/x/nodes", None, 404, "NotFound", id="not in one"),
    pytest.param("GET", f"{MAPS}/a/log", None, 404, "NotFound", id="unknown subresource"),
    pytest.param("PUT", MAPS, {}, 405, "MethodNotAllowed", id="PUT on a collection"),
    pytest.param("POST", f"{MAPS}/a", {}, 405, "MethodNotAllowed", id="POST on an object"),
    pytest.param("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {}, 405,
        "MethodNotAllowed", id="definitions are read only"),
    pytest.param("GET", f"{MAPS}/a", None, 404, "NotFound", id="no such object"),
    pytest.param("POST", MAPS, b"{", 400, "BadRequest", id="not JSON"),
    pytest.param("POST", MAPS, b"[" * 100_000, 400, "BadRequest", id="JSON without a bottom"),
    pytest.param("POST", MAPS, [1], 400, "BadRequest", id="not an object"),
    pytest.param("POST", MAPS, {"metadata": 7}, 400, "BadRequest", id="metadata of a wrong type"),
    pytest.param("POST", MAPS, {"metadata": {"name": 7}}, 422, "Invalid", id="name is a number"),
    pytest.param("POST", MAPS, {"metadata": {}}, 422, "Invalid", id="no name"),
    pytest.param("POST", MAPS, {"kind": "Pod", "metadata": {"name": "a"}}, 400, "BadRequest",
        id="another kind"),
    pytest.param("POST", MAPS, {"metadata": {"name": "a", "namespace": "x"}}, 400, "BadRequest",
        id="another namespace"),
    pytest.param("POST", MAPS, {"metadata": {"name": "a", "resourceVersion": "1"}}, 400,
        "BadRequest", id="a resourceVersion before it exists"),
    pytest.param("POST", "/api/v1/configmaps", config("a"), 400, "BadRequest", id="no namespace"),
    pytest.param("POST", "/api/v1/namespaces/gone/configmaps", config("a"), 404, "NotFound",
        id="a namespace that is not there"),
    pytest.param("PUT", f"{MAPS}/a", config("b"), 400, "BadRequest", id="another name"),
    pytest.param("GET", f"{MAPS}?labelSelector=a==b==c", None, 400, "BadRequest", id="selector"),
    pytest.param("GET", f"{MAPS}?watch=1&resourceVersion=x", None, 400, "BadRequest",
        id="bad position"),
    pytest.param("POST", f"{MAPS}?fieldValidation=Maybe", config("a") | {"x": 1}, 400, "BadRequest",
        id="bad fieldValidation"),
    pytest.param("POST", f"{MAPS}?dryRun=Some", config("a"), 400, "BadRequest", id="bad dryRun"),
    pytest.param("DELETE", "/api/v1/namespaces/default", None, 403, "Forbidden",
        id="the default namespace"),
    pytest.param("DELETE", f"{MAPS}/a", {"propagationPolicy": "Orphan"}, 400, "BadRequest",
        id="orphans"),
    pytest.param("GET", "/api/v1/namespaces/shop/pods/p/exec", None, 400, "BadRequest",
        id="exec without a command"),
]
# fmt: on


@pytest.mark.parametrize(("method", "target", "body", "status", "reason"), REFUSALS)
async def test_refusals(
    api: MakeApi, method: str, target: str, body: Any, status: int, reason: str
) -> None:
    call = await api("default", "shop")

    code, answer = await call(method, target, body)

    assert (code, answer["kind"], answer["reason"]) == (status, "Status", reason)
    assert (await call.store.list(CONFIG_MAPS)).items == ()


async def test_who_proves_no_identity_only_learns_that_we_live(api: MakeApi) -> None:
    call = await api()

    assert (await call("GET", "/api/v1/pods", x_user="nobody"))[0] == 401
    assert (await call("GET", "/metrics", x_user="nobody"))[0] == 401
    assert (await call("GET", "/debug/syncz", x_user="nobody"))[0] == 401
    assert (await call.reply("GET", "/readyz", x_user="nobody")).body == b"ok"
    assert (await call("GET", "/version/", x_user="nobody"))[1]["minor"] == "32"


async def test_others_than_the_owner_may_only_discover(api: MakeApi) -> None:
    call = await api("shop")

    assert (await call("GET", "/apis", x_user="eve"))[0] == 200
    for method, target in [
        ("GET", MAPS),
        ("POST", MAPS),
        ("GET", "/metrics"),
        ("GET", "/debug/syncz"),
    ]:
        code, answer = await call(method, target, config("a"), x_user="eve")
        assert (code, answer["reason"]) == (403, "Forbidden")
        assert 'User "eve" cannot' in answer["message"]


async def test_the_owner_reads_what_the_control_plane_tells_and_changes_nothing_there(
    api: MakeApi,
) -> None:
    call = await api()

    assert await call("GET", "/debug/syncz") == (200, {"uid": []})
    assert (await call("POST", "/debug/syncz", {}))[0] == 405


async def test_create_ignores_status_and_fills_in_the_address(api: MakeApi) -> None:
    call = await api("shop")

    code, made = await call("POST", POLICIES, policy("STRICT") | {"status": {"conditions": []}})

    assert code == 201
    assert made["metadata"]["namespace"] == "shop"
    assert "status" not in made


async def test_objects_are_stored_once_and_shown_in_every_version(api: MakeApi) -> None:
    call = await api("shop")
    beta = POLICIES.replace("/v1/", "/v1beta1/")
    await call("POST", beta, policy("STRICT", "v1beta1"))

    assert (await call("GET", f"{POLICIES}/default"))[1]["apiVersion"] == "security.istio.io/v1"
    listing = (await call("GET", beta))[1]
    assert listing["items"][0]["apiVersion"] == listing["apiVersion"] == "security.istio.io/v1beta1"
    (stored,) = (await call.store.list(PEER_AUTHENTICATIONS)).items
    assert stored["apiVersion"] == "security.istio.io/v1"


async def test_a_generated_name_is_made_up(api: MakeApi) -> None:
    call = await api("shop")

    _, made = await call("POST", MAPS, {"metadata": {"generateName": "job-"}})

    assert made["metadata"]["name"].startswith("job-")
    assert len(made["metadata"]["name"]) == len("job-") + 5


async def test_status_and_the_rest_have_separate_doors(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", POLICIES, policy("STRICT"))
    condition = {"type": "InForce", "status": "True"}
    both = policy("DISABLE") | {"status": {"conditions": [condition]}}

    _, first = await call("PUT", f"{POLICIES}/default/status", both)
    _, second = await call(
        "PATCH", f"{POLICIES}/default", both | {"status": {}}, content_type=MERGE
    )

    assert (first["spec"], first["status"]["conditions"]) == (policy("STRICT")["spec"], [condition])
    assert (second["spec"], second["status"]) == (policy("DISABLE")["spec"], first["status"])


async def test_a_patch_that_changes_nothing_keeps_the_version(api: MakeApi) -> None:
    call = await api("shop")
    _, made = await call("POST", POLICIES, policy("STRICT"))

    _, patched = await call(
        "PATCH", f"{POLICIES}/default", {"spec": policy("STRICT")["spec"]}, content_type=MERGE
    )

    assert patched == made


async def test_a_patch_of_an_old_version_is_a_conflict(api: MakeApi) -> None:
    call = await api("shop")
    _, made = await call("POST", MAPS, config("a"))
    await call("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, content_type=MERGE)
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}

    code, answer = await call("PATCH", f"{MAPS}/a", stale | {"data": None}, content_type=MERGE)

    assert (code, answer["reason"]) == (409, "Conflict")


async def test_patch_types_a_kind_does_not_take_are_named(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", POLICIES, policy("STRICT"))

    for content_type in ("application/strategic-merge-patch+json", "application/apply-patch+yaml"):
        code, answer = await call("PATCH", f"{POLICIES}/default", {}, content_type=content_type)
        assert (code, answer["reason"]) == (415, "UnsupportedMediaType")
        assert "application/merge-patch+json" in answer["message"]


async def test_deletion_answers_with_the_uid(api: MakeApi) -> None:
    call = await api("shop")
    _, made = await call("POST", MAPS, config("a"))
    uid = made["metadata"]["uid"]

    wrong = await call("DELETE", f"{MAPS}/a", {"preconditions": {"uid": "other"}})
    right = await call("DELETE", f"{MAPS}/a", {"preconditions": {"uid": uid}})

    assert wrong[0] == 409
    assert (right[0], right[1]["status"], right[1]["details"]["uid"]) == (200, "Success", uid)


async def test_a_collection_is_deleted_by_selector(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", MAPS, config("a", {"app": "web"}))
    await call("POST", MAPS, config("b"))

    code, gone = await call("DELETE", f"{MAPS}?labelSelector=app")

    assert (code, [o["metadata"]["name"] for o in gone["items"]]) == (200, ["a"])
    left = (await call.store.list(CONFIG_MAPS)).items
    assert [o["metadata"]["name"] for o in left] == ["b"]


async def test_metadata_only_and_tables_are_rendered_on_request(api: MakeApi) -> None:
    call = await api("shop")
    await call("POST", POLICIES, policy("STRICT"))
    table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

    assert (await call("GET", POLICIES, accept=table))[1]["rows"][0]["cells"][:2] == [
        "default",
        "STRICT",
    ]
    metadata = (await call("GET", POLICIES, accept=partial))[1]
    assert metadata["kind"] == "PartialObjectMetadataList"
    assert "spec" not in metadata["items"][0]
    protobuf = "application/vnd.kubernetes.protobuf,application/json"
    assert (await call("GET", POLICIES, accept=protobuf))[1]["items"][0]["spec"]


async def test_openapi_may_be_kept_for_ever(api: MakeApi) -> None:
    call = await api()
    _, index = await call("GET", "/openapi/v3")
    address = index["paths"]["apis/security.istio.io/v1"]["serverRelativeURL"]

    reply = await call.reply("GET", address)
    headers = dict(reply.headers)
    again = await call.reply("GET", address, if_none_match=headers["ETag"])

    assert "immutable" in headers["Cache-Control"]
    assert (again.status, again.body) == (304, b"")


@given(
    target=st.text(max_size=40),
    body=st.binary(max_size=40),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_request_is_answered_with_a_bug(
    api: MakeApi, target: str, body: bytes, method: str
) -> None:
    async def main() -> None:
        call = await api("shop")
        for path in ("/" + target, "/api/v1/" + target, f"{MAPS}/{target}"):
            reply = await call.reply(method, path, body)
            assert not isinstance(reply, Response) or reply.status < 500

    virtual_time.run(main())
