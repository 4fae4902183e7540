from mutua.cluster.revocation.closing import close_connections
from mutua.runtime.network.connections import Connection, Meant

POD = {"web": "10.244.0.1", "bad": "10.244.0.2", "good": "10.244.0.3"}
OUTSIDE = "192.0.2.1"


def dialled(peer: str) -> Connection:
    return Connection(dialled=True, local=40000, peer=peer, port=80, cookie=1, identity=b"")


class Network:
    """Connections by pod; remembers which were ended."""

    def __init__(self, held: dict[str, list[Connection]]) -> None:
        self.held = held
        self.ended: list[tuple[str, str]] = []

    async def connections(self, uid: str) -> list[Connection]:
        return self.held.get(uid, [])

    async def end_connections(self, uid: str, is_meant: Meant) -> int:
        meant = [one for one in self.held.get(uid, []) if is_meant(one)]
        self.ended += [(uid, one.peer) for one in meant]
        return len(meant)


async def test_everything_between_the_pod_and_the_mesh_is_ended_and_nothing_else() -> None:
    network = Network(
        {
            "bad": [dialled(POD["web"]), dialled(OUTSIDE)],
            "web": [dialled(POD["bad"]), dialled(POD["good"])],
            "good": [dialled(POD["web"]), dialled(POD["bad"]), dialled(OUTSIDE)],
        }
    )

    ended = await close_connections(network, POD, {"bad"})

    assert ended == 3
    assert set(network.ended) == {
        ("bad", POD["web"]),
        ("web", POD["bad"]),
        ("good", POD["bad"]),
    }


async def test_for_a_pod_that_is_not_there_nothing_is_ended() -> None:
    network = Network({"web": [dialled(POD["good"])]})

    assert await close_connections(network, POD, {"gone"}) == 0
    assert await close_connections(network, POD, set()) == 0
