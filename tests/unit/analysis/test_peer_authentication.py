# ruff: noqa: E501 - messages are written out
"""PeerAuthentications that do not do what their author may think: each trap, and its absence."""

import pytest

from mutua.analysis.analyze import analyze
from mutua.analysis.mesh import Mesh
from mutua.testing.mesh import (
    by_resource,
    deployment,
    namespace,
    peer_authentication,
    pod,
    service,
)

SHOP = namespace("shop")
WEB = deployment("shop", "web", 80, labels={"tier": "front", "version": "v1"})
WEB_SERVICE = service("shop", "web", {"name": "http", "port": 8000, "targetPort": 80})
LATER = "2026-02-02T00:00:00Z"
ROOT = "istio-system"


def selecting(mode: str | None = "STRICT", name: str = "web", **extra):
    labels = extra.pop("labels", {"app": "web"})
    where = extra.pop("namespace", "shop")
    return peer_authentication(where, mode, name=name, selector={"matchLabels": labels}, **extra)


def ports(**modes: str):
    return {number.removeprefix("p"): {"mode": mode} for number, mode in modes.items()}


def said(*objects, code: str) -> list[str]:
    found = analyze(Mesh(by_resource(SHOP, WEB, WEB_SERVICE, *objects)))
    return [
        f"{one.origin.path}: {one.text}"
        for one in found
        if one.origin.kind == "PeerAuthentication" and one.code.code == code
    ]


SILENT = [
    pytest.param([], id="no policy"),
    pytest.param([peer_authentication(ROOT, "STRICT")], id="mesh-wide"),
    pytest.param([peer_authentication("shop", "PERMISSIVE")], id="of the namespace"),
    pytest.param([selecting()], id="of the workload"),
    pytest.param([selecting(None, portLevelMtls=ports(p80="DISABLE"))], id="a container port"),
    pytest.param([peer_authentication("empty", "STRICT")], id="of a namespace without pods"),
    pytest.param(
        [
            peer_authentication(ROOT, "STRICT"),
            peer_authentication("shop", "DISABLE", created=LATER),
        ],
        id="policies of different ranks",
    ),
    pytest.param(
        [selecting(), selecting(name="other", labels={"app": "db"}), deployment("shop", "db")],
        id="policies for different workloads",
    ),
]


@pytest.mark.parametrize("objects", SILENT)
def test_a_policy_that_works_is_not_spoken_about(objects) -> None:
    found = analyze(Mesh(by_resource(SHOP, WEB, WEB_SERVICE, *objects)))

    assert [one for one in found if one.origin.kind == "PeerAuthentication"] == []


def test_a_selector_in_the_root_namespace_is_dead_and_the_right_place_is_named() -> None:
    meant = selecting(namespace=ROOT)
    nobody = selecting(namespace=ROOT, name="nobody", labels={"app": "nothing"})

    assert said(meant, nobody, code="IST0167") == [
        (
            "istio-system/nobody: a policy with a selector in the root namespace istio-system is "
            "ignored everywhere, even for pods of istio-system; put it into the namespace of the pods "
            "that it means"
        ),
        (
            "istio-system/web: a policy with a selector in the root namespace istio-system is ignored "
            "everywhere, even for pods of istio-system; put it where the pods are that it means: "
            "namespace shop"
        ),
    ]


NEAR = [
    # labels asked for, and what is said
    (
        {"app": "wep"},
        "no pod of namespace shop has the label app=wep; of deploy/web, its app is 'web'",
    ),
    (
        {"app": "web", "tier": "front", "version": "v2"},
        (
            "no pod of namespace shop has all the labels app=web, tier=front, version=v2; "
            "2 of 3 labels match deploy/web: its version is 'v1'"
        ),
    ),
    (
        {"app": "web", "zone": "a"},
        (
            "no pod of namespace shop has all the labels app=web, zone=a; "
            "1 of 2 labels match deploy/web: it has no label zone"
        ),
    ),
    (
        {"colour": "blue"},
        "no pod of namespace shop has the label colour=blue",
    ),
    (
        {"app": "db"},
        (
            "no pod of namespace shop has the label app=db; pods of namespace store have, but a policy "
            "selects only in its own"
        ),
    ),
]


@pytest.mark.parametrize(("labels", "text"), NEAR)
def test_a_selector_that_selects_nothing_names_what_comes_closest(labels, text) -> None:
    elsewhere = deployment("store", "db")

    assert said(selecting(labels=labels), elsewhere, code="IST0127") == [f"shop/web: {text}"]


def test_only_the_oldest_policy_without_selector_counts() -> None:
    older, younger = (
        peer_authentication("shop", None),
        peer_authentication("shop", "STRICT", name="a-younger", created=LATER),
    )
    assert said(older, younger, code="IST0167") == [
        (
            "shop/a-younger: the older policy default is the only one that counts for namespace shop; "
            "this one changes nothing, not even where the older one leaves the mode UNSET"
        ),
        "shop/default: sets no mode: everything stays as wider policies have it, or PERMISSIVE; and yet it keeps a-younger from counting, for it is older",
    ]


def test_policies_of_one_second_go_by_name() -> None:
    first, second = (peer_authentication(ROOT, "STRICT", name=name) for name in ("a", "b"))

    (text,) = said(first, second, code="IST0167")

    assert text.startswith("istio-system/b: the older policy a is the only one that counts for the")


def test_a_shadowed_workload_policy_names_the_workloads_and_the_older_policy() -> None:
    front = selecting(name="front", labels={"tier": "front"})
    total = selecting(name="total", created=LATER)
    partial = selecting(
        name="partial", labels={"v": "1"}, created=LATER, portLevelMtls=ports(p80="DISABLE")
    )
    web, db = (
        deployment("shop", "web", 80, labels={"tier": "front", "v": "1"}),
        deployment("shop", "db", 80, labels={"v": "1"}),
    )

    found = analyze(Mesh(by_resource(SHOP, web, db, front, total, partial)))

    shadowed = [one for one in found if one.code.code == "IST0167"]
    assert [(one.origin.name, one.text) for one in shadowed] == [
        (
            "partial",
            (
                "the older policy front is the only one that counts for deploy/web; this one has no "
                "effect there, ports included"
            ),
        ),
        (
            "total",
            (
                "the older policy front is the only one that counts for deploy/web; this one changes "
                "nothing, ports included"
            ),
        ),
    ]
    assert [str(one) for one in shadowed[0].related] == ["PeerAuthentication shop/front"]


@pytest.mark.parametrize(
    "policy",
    [
        peer_authentication("shop", None),
        peer_authentication("shop", "UNSET"),
        selecting(None, portLevelMtls=ports(p80="UNSET")),
    ],
)
def test_a_policy_that_sets_no_mode_does_nothing(policy) -> None:
    (text,) = said(policy, code="IST0167")

    assert "sets no mode" in text


def test_a_service_port_in_port_level_mtls_is_named_with_the_port_that_was_meant() -> None:
    policy = selecting(portLevelMtls=ports(p8000="DISABLE"))

    found = analyze(Mesh(by_resource(SHOP, WEB, WEB_SERVICE, policy)))

    (one,) = [one for one in found if one.code.code.startswith("MUT")]
    assert (one.code.code, one.path) == ("MUT0101", "spec.portLevelMtls[8000]")
    assert one.text == (
        "8000 is a Service port; the workload listens on 80: this entry changes nothing; "
        "write 80 (Service web)"
    )
    assert [str(other) for other in one.related] == ["Service shop/web"]


def test_a_port_that_nobody_knows_is_doubted() -> None:
    policy = selecting(portLevelMtls=ports(p9999="STRICT", p80="STRICT"))

    assert said(policy, code="MUT0102") == [
        (
            "shop/web: no container of deploy/web declares port 9999, and no Service leads to it: "
            "unless something listens there, this entry changes nothing"
        )
    ]


def test_a_port_of_one_of_the_selected_workloads_is_enough() -> None:
    policy = selecting(labels={"tier": "front"}, portLevelMtls=ports(p5432="DISABLE"))
    db = deployment("shop", "db", 5432, labels={"tier": "front"})

    assert said(policy, db, code="MUT0102") == []


def test_strict_names_the_pods_that_cannot_enforce_it() -> None:
    bare = pod("shop", "legacy", meshed=False)
    elsewhere = pod("store", "till", meshed=False)

    local = said(peer_authentication("shop", "STRICT"), bare, elsewhere, code="MUT0106")
    mesh_wide = said(peer_authentication(ROOT, "STRICT"), bare, elsewhere, code="MUT0106")

    assert local == [
        (
            "shop/default: pod/legacy has no sidecar: nothing there enforces STRICT, and what is sent "
            "from there to STRICT ports is refused"
        )
    ]
    assert "pod/legacy.shop and pod/till.store have no sidecar" in mesh_wide[0]


def test_strict_does_not_name_pods_for_which_another_policy_decides() -> None:
    bare = pod("shop", "legacy", meshed=False)
    policies = peer_authentication(ROOT, "STRICT"), peer_authentication("shop", "PERMISSIVE")

    assert said(*policies, bare, code="MUT0106") == []
