"""Which of a pod's connections go through its proxy: the traffic.sidecar.istio.io annotations.

What they look like is mutua.api.annotations' business; here they become what the node enforces.
"""

from typing import Final

from mutua.api.annotations import READERS, TRAFFIC, annotations, traffic_errors
from mutua.api.object import Object
from mutua.api.verdict import Verdict
from mutua.runtime.network.rules import CaptureRules

FIELDS: Final = {
    f"{TRAFFIC}includeInboundPorts": "include_inbound_ports",
    f"{TRAFFIC}excludeInboundPorts": "exclude_inbound_ports",
    f"{TRAFFIC}includeOutboundIPRanges": "include_outbound_cidrs",
    f"{TRAFFIC}excludeOutboundIPRanges": "exclude_outbound_cidrs",
    f"{TRAFFIC}includeOutboundPorts": "include_outbound_ports",
    f"{TRAFFIC}excludeOutboundPorts": "exclude_outbound_ports",
}
"""Annotation to field of CaptureRules."""


def capture_rules(pod: Object) -> CaptureRules:
    """Return a pod's capture rules.

    Raises:
        Invalid: An annotation is malformed, unknown or not supported; all of them are named.
    """
    given = annotations(pod)
    Verdict(errors=[*traffic_errors(given)]).raise_for_errors()
    return CaptureRules(
        **{FIELDS[name]: READERS[name](value) for name, value in given.items() if name in FIELDS}
    )
