"""How a sidecar is found.

The same values as where they are decided (a test holds them together), without the cost of
importing those modules: they bring the whole of Envoy's protobuf with them.
"""

from typing import Final

PROXY: Final = "istio-proxy"
"""Name of the sidecar's container: mutua.controlplane.proxy_container.PROXY."""

ADMIN_PORT: Final = 15000
"""Where Envoy's admin interface listens in the pod: mutua.xds.bootstrap.ADMIN_PORT."""
