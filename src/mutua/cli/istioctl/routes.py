"""`proxy-config route`: one row per route."""

from collections.abc import Sequence
from typing import Final

from mutua.api.object import Object
from mutua.cli.istioctl.listeners import describe_match

HEADER: Final = ("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE")
SHORT_HEADER: Final = ("NAME", "VIRTUAL HOSTS")

SHOWN_DOMAINS: Final = 2
"""Domains shown of a virtual host; of the others, their number."""


def select(routes: Sequence[Object], name: str = "") -> list[Object]:
    """Return the route configurations of that name, or all, by name."""
    found = [one for one in routes if not name or one.get("name", "") == name]
    return sorted(found, key=lambda one: _order(one.get("name", "")))


def table(
    found: Sequence[Object], prefix: str = "", *, verbose: bool = True
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a header and the rows below it: one per route, or one per route configuration."""
    return (HEADER, rows(found, prefix)) if verbose else (SHORT_HEADER, short_rows(found, prefix))


def short_rows(routes: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per route configuration."""
    return [(prefix + one.get("name", ""), str(len(one.get("virtualHosts", ())))) for one in routes]


def rows(routes: Sequence[Object], prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row per route; a virtual host without routes answers 404."""
    found: list[tuple[str, ...]] = []
    for config in routes:
        for host in config.get("virtualHosts", ()):
            start = (prefix + config.get("name", ""), host.get("name", ""), _domains(host))
            if not host.get("routes"):
                found.append((*start, "/*", "404"))
            found += [
                (*start, describe_match(route.get("match", {})), _virtual_service(route))
                for route in host.get("routes", ())
            ]
    return found


def _domains(host: Object) -> str:
    """Name a host's domains; those with a port say nothing new next to those without."""
    domains = host.get("domains", [])
    if len(domains) <= 1:
        return "".join(domains)
    bare = [one for one in domains if ":" not in one] or domains
    more = len(bare) - SHOWN_DOMAINS
    shown = ", ".join(bare[:SHOWN_DOMAINS])
    return f"{shown} + {more} more..." if more > 0 else shown


def _virtual_service(route: Object) -> str:
    if not {"route", "redirect", "directResponse"} & route.keys():
        return "404"
    metadata = (route.get("metadata") or {}).get("filterMetadata") or {}
    parts = metadata.get("istio", {}).get("config", "").split("/")
    if len(parts) < 4 or parts[-2] != "virtual-service":
        return ""
    return f"{parts[-1]}.{parts[-3]}"


def _order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (0, name)
