"""From the mesh to Envoy's configuration: pure, cached, shared between proxies.

compiler ── what one proxy is given
    shared ── clusters, endpoints, listeners, routes for Services: the same for all proxies
    inbound ── virtualInbound: by exposed ports and PeerAuthentication modes
"""

from mutua.xds.compile.compiler import Compiler, compile_proxy

__all__ = ["Compiler", "compile_proxy"]
