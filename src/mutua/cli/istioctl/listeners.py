"""`proxy-config listener`: one row per filter chain, or one per listener."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mutua.api.object import Object

HEADER: Final = ("ADDRESSES", "PORT", "MATCH", "DESTINATION")
SHORT_HEADER: Final = ("ADDRESSES", "PORT", "TYPE")

APPLICATIONS: Final[Mapping[frozenset[str], str]] = {
    frozenset({"http/1.0", "http/1.1", "h2c"}): "HTTP",
    frozenset({"http/1.1", "h2c"}): "HTTP",
    frozenset({"istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"}): "Istio HTTP Plain",
    frozenset(
        {"http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"}
    ): "HTTP TLS",
    frozenset({"istio-peer-exchange", "istio"}): "TCP TLS",
}
"""What istioctl calls well-known sets of ALPN names; others are listed."""

MANAGER: Final = ".HttpConnectionManager"
PROXY: Final = ".TcpProxy"


def port_of(listener: Object) -> int:
    """Return the port a listener listens on, 0 for one without."""
    return int(_socket(listener.get("address", {})).get("portValue", 0))


def addresses_of(listener: Object) -> list[str]:
    """Return every address a listener listens on."""
    extra = [one.get("address", {}) for one in listener.get("additionalAddresses", ())]
    found = (_socket(one).get("address", "") for one in (listener.get("address", {}), *extra))
    return [address for address in found if address]


def type_of(listener: Object) -> str:
    """Return HTTP, TCP, HTTP+TCP or UNKNOWN."""
    kinds = {_type(one) for chain in _chains(listener) for one in chain.get("filters", ())}
    is_http = any(kind.endswith(MANAGER) for kind in kinds)
    is_tcp = any(kind.endswith(PROXY) for kind in kinds)
    return {(True, True): "HTTP+TCP", (True, False): "HTTP", (False, True): "TCP"}.get(
        (is_http, is_tcp), "UNKNOWN"
    )


def select(
    listeners: Sequence[Object], *, address: str = "", port: int = 0, kind: str = ""
) -> list[Object]:
    """Return the listeners that match every given filter, by port and address."""
    found = [
        one
        for one in listeners
        if (not address or address in addresses_of(one))
        and (not port or port == port_of(one))
        and (not kind or kind.upper() == type_of(one))
    ]
    return sorted(found, key=lambda one: (port_of(one), addresses_of(one)))


def table(
    found: Sequence[Object], prefix: str = "", *, verbose: bool = True
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a header and the rows below it: one per filter chain, or one per listener."""
    return (HEADER, rows(found, prefix)) if verbose else (SHORT_HEADER, short_rows(found, prefix))


def short_rows(listeners: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per listener."""
    return [
        (prefix + ",".join(addresses_of(one)), str(port_of(one)), type_of(one)) for one in listeners
    ]


def rows(listeners: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per filter chain."""
    return [
        (
            prefix + ",".join(addresses_of(one)),
            str(port_of(one)),
            match_of(chain.get("filterChainMatch") or {}),
            destination_of(chain),
        )
        for one in listeners
        for chain in _chains(one)
    ]


def match_of(match: Object) -> str:
    """Return what a filter chain matches, in istioctl's words; ALL for everything."""
    found = []
    if names := match.get("serverNames"):
        found.append("SNI: " + ",".join(names))
    if transport := match.get("transportProtocol"):
        found.append(f"Trans: {transport}")
    if applications := match.get("applicationProtocols"):
        known = APPLICATIONS.get(frozenset(applications))
        found.append("App: " + (known or ",".join(applications)))
    port = f":{match['destinationPort']}" if match.get("destinationPort") else ""
    ranges = [
        f"{one.get('addressPrefix', '')}/{one.get('prefixLen', 0)}{port}"
        for one in match.get("prefixRanges", ())
    ]
    if ranges or port:
        found.append("Addr: " + (",".join(ranges) or f"*{port}"))
    return "; ".join(found) or "ALL"


def destination_of(chain: Object) -> str:
    """Return where a filter chain sends what it matches."""
    for one in chain.get("filters", ()):
        config = one.get("typedConfig", {})
        if _type(one).endswith(MANAGER):
            if "rds" in config:
                return f"Route: {config['rds'].get('routeConfigName', '')}"
            return _inline(config.get("routeConfig") or {})
        if _type(one).endswith(PROXY):
            return _cluster(config.get("cluster", ""))
    return "Non-HTTP/Non-TCP"


def _inline(route_config: Object) -> str:
    routes = [r for host in route_config.get("virtualHosts", ()) for r in host.get("routes", ())]
    targets = {route.get("route", {}).get("cluster", "") for route in routes}
    if len(routes) == 1 and routes[0].get("match") == {"prefix": "/"} and targets != {""}:
        return _cluster(targets.pop())
    return "Inline Route: " + ", ".join(describe_match(route.get("match", {})) for route in routes)


def describe_match(match: Object) -> str:
    """Return the paths a route matches: `/x*` for a prefix."""
    if "path" in match:
        return str(match["path"])
    if "safeRegex" in match:
        return f"regex {match['safeRegex'].get('regex', '')}"
    prefix = match.get("pathSeparatedPrefix") or match.get("prefix") or "/"
    return f"{prefix}*"


def _cluster(name: str) -> str:
    # Passthrough and black hole are known by their names alone, as in istioctl.
    return name if "Cluster" in name else f"Cluster: {name}"


def _chains(listener: Object) -> Iterator[Object]:
    yield from listener.get("filterChains", ())
    if default := listener.get("defaultFilterChain"):
        yield default


def _type(network_filter: Object) -> str:
    return str(network_filter.get("typedConfig", {}).get("@type", ""))


def _socket(address: Object) -> dict[str, Any]:
    found: dict[str, Any] = address.get("socketAddress", {})
    return found
