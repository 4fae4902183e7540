"""What a proxy should hold against what it holds."""

from mutua.api.object import PODS
from mutua.cli.istioctl.comparison import held, lines, wanted
from mutua.model.build import build_snapshot
from mutua.testing.mesh import pod

DUMP = {
    "configs": [
        {
            "@type": "x.ClustersConfigDump",
            "staticClusters": [{"cluster": {"name": "xds-grpc"}}],
            "dynamicActiveClusters": [{"versionInfo": "1", "cluster": {"name": "a"}}],
        },
        {
            "@type": "x.ListenersConfigDump",
            "dynamicListeners": [
                {"name": "b", "activeState": {"versionInfo": "2"}},
                {"name": "warming"},
            ],
        },
        {
            "@type": "x.RoutesConfigDump",
            "dynamicRouteConfigs": [{"versionInfo": "3", "routeConfig": {"name": "c"}}],
        },
    ]
}


def test_what_a_dump_says_is_held() -> None:
    assert held(DUMP) == {
        "Clusters": {"a": "1"},
        "Listeners": {"b": "2", "warming": ""},
        "Routes": {"c": "3"},
    }


def test_every_difference_is_named() -> None:
    should = {"Clusters": {"a": "1"}, "Listeners": {"b": "9", "new": "1"}, "Routes": {}}

    assert list(lines(should, held(DUMP))) == [
        "Clusters Match",
        "Listeners Don't Match",
        "  ~ b: held in another version",
        "  - new: not held (yet)",
        "  + warming: held, and not meant for it (any more)",
        "Routes Don't Match",
        "  + c: held, and not meant for it (any more)",
    ]


def test_what_should_be_held_is_compiled_from_the_mesh() -> None:
    snapshot = build_snapshot({PODS: [pod("shop", "web", "10.0.0.1")]})

    should = wanted(snapshot, "shop-web")

    assert "InboundPassthroughCluster" in should["Clusters"]
    assert "virtualInbound" in should["Listeners"]
