"""What a proxy should hold against what it holds."""

from mutua.api.object import PODS
from mutua.cli.istioctl.comparison import Held, held, lines, wanted
from mutua.model.build import build_snapshot
from mutua.testing.mesh import pod
from mutua.xds.proto import message
from mutua.xds.resource import resource

DUMP = {
    "configs": [
        {
            "@type": "x.ClustersConfigDump",
            "staticClusters": [{"cluster": {"name": "xds-grpc"}}],
            "dynamicActiveClusters": [
                {"versionInfo": "1", "cluster": {"@type": "x", "name": "a"}},
            ],
        },
        {
            "@type": "x.ListenersConfigDump",
            "dynamicListeners": [
                {"name": "b", "activeState": {"versionInfo": "2", "listener": {"name": "b"}}},
                {"name": "warming"},
            ],
        },
        {
            "@type": "x.RoutesConfigDump",
            "dynamicRouteConfigs": [
                {
                    "versionInfo": "3",
                    "lastUpdated": "2026-01-01T11:59:00Z",
                    "routeConfig": {"name": "c"},
                }
            ],
        },
    ]
}


def made(kind, name, **fields):
    body = message(f"envoy.config.{kind}")(name=name, **fields)
    return resource(name, body.SerializeToString())


def test_what_a_dump_says_is_held() -> None:
    assert held(DUMP) == {
        "Clusters": {"a": Held("1", {"name": "a"}, "")},
        "Listeners": {"b": Held("2", {"name": "b"}, ""), "warming": Held("", {}, "")},
        "Routes": {"c": Held("3", {"name": "c"}, "2026-01-01T11:59:00Z")},
    }


def test_every_difference_is_shown_as_a_diff_from_what_it_should_hold() -> None:
    cluster = made("cluster.v3.Cluster", "a", alt_stat_name="x")
    does = held(DUMP)
    does["Clusters"] = {"a": Held(cluster.version, {}, "")}
    should = {
        "Clusters": {"a": cluster},
        "Listeners": {
            "b": made("listener.v3.Listener", "b", stat_prefix="new"),
            "more": made("listener.v3.Listener", "more"),
        },
        "Routes": {},
    }

    assert list(lines(should, does)) == [
        "Clusters Match",
        "Listeners Don't Match",
        "--- Istiod b",
        "+++ Envoy b",
        "@@ -1,4 +1,3 @@",
        " {",
        '-  "name": "b",',
        '-  "statPrefix": "new"',
        '+  "name": "b"',
        " }",
        "--- Istiod more",
        "+++ Envoy more",
        "@@ -1,3 +0,0 @@",
        "-{",
        '-  "name": "more"',
        "-}",
        "--- Istiod warming",
        "+++ Envoy warming",
        "@@ -0,0 +1 @@",
        "+{}",
        "Routes Don't Match (RDS last loaded at Thu, 01 Jan 2026 11:59:00 UTC)",
        "--- Istiod c",
        "+++ Envoy c",
        "@@ -0,0 +1,3 @@",
        "+{",
        '+  "name": "c"',
        "+}",
    ]


def test_what_should_be_held_is_compiled_from_the_mesh() -> None:
    snapshot = build_snapshot({PODS: [pod("shop", "web", "10.244.0.2")]})

    should = wanted(snapshot, "shop-web")

    assert "InboundPassthroughCluster" in should["Clusters"]
    assert "virtualInbound" in should["Listeners"]
