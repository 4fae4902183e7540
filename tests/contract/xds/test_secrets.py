"""How many Secrets a real Envoy is served: it opens a stream for each."""

from collections.abc import Callable, Iterator
from typing import Any

from mutua.api.destination import ROOTS, ClientTls, TlsMode
from mutua.controlplane.credentials import MAX_STREAMS, MESSAGE, SECRET
from mutua.model.settings import MeshSettings
from mutua.testing.envoy import Envoy, cluster, endpoints
from mutua.testing.polling import eventually
from mutua.testing.reachability.landscape import Credential
from mutua.xds.compile.origination import SECRETS, foreign_tls
from mutua.xds.feed import Feed
from mutua.xds.proto import Cluster, message
from mutua.xds.resource import CLUSTER, ENDPOINT, Layer, Resource, ResourceSet, resource
from mutua.xds.server import SDS, ads_handler, delta_handler, serve_workload

NAMES = [f"backend-{number}" for number in range(MAX_STREAMS // 2)]


async def test_all_that_rules_may_name_arrive_at_once(
    envoy: Envoy, self_signed: Callable[[str], Credential]
) -> None:
    wanted = [SECRETS + name + suffix for name in NAMES for suffix in ("", ROOTS)]
    mesh, secrets = Feed("web-1.shop"), Feed("web-1.shop", max_streams=MAX_STREAMS)
    places = [endpoints(name, 1) for name in NAMES]
    clusters = map(_cluster, NAMES)
    mesh.publish({CLUSTER: ResourceSet(Layer(clusters)), ENDPOINT: ResourceSet(Layer(places))}, 1)
    secrets.publish({SECRET: ResourceSet(Layer(_secrets(self_signed("backend"))))}, 1)
    server = await serve_workload({envoy.xds: [ads_handler(mesh), delta_handler(SDS, secrets)]})
    try:
        async with envoy.running():
            await eventually(lambda: secrets.confirmed(SECRET, wanted) == 1, "all are confirmed")
    finally:
        await server.stop()


def _cluster(name: str) -> Resource:
    made = Cluster.FromString(cluster(name).body)
    tls = ClientTls(mode=TlsMode.MUTUAL, credential_name=name)
    socket = foreign_tls(tls, MeshSettings(), http2=False, expected=())
    made.MergeFrom(Cluster(transport_socket=socket))
    return resource(name, made.SerializeToString(deterministic=True))


def _secrets(credential: Credential) -> Iterator[Resource]:
    for name in NAMES:
        own: Any = message(MESSAGE)(name=SECRETS + name)
        own.tls_certificate.certificate_chain.inline_string = credential.certificate
        own.tls_certificate.private_key.inline_string = credential.key
        roots: Any = message(MESSAGE)(name=SECRETS + name + ROOTS)
        roots.validation_context.trusted_ca.inline_string = credential.certificate
        for one in (own, roots):
            yield resource(one.name, one.SerializeToString(deterministic=True))
