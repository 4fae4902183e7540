"""How much does each port get at all, with mutual TLS or without?  Counters of the proxies.

Requests of HTTP ports and connections of others, since the proxy started.  They tell a port that
nobody calls from one that is called with mutual TLS only.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from lightkube import Client

from mutua.api.object import Object
from mutua.cli.istioctl.admin import Admin
from mutua.cli.strict.survey import Plan, Port
from mutua.controlplane.ledger.party import Party

STATS: Final = (
    "GET /stats?format=json&filter="
    r"^(http\.inbound_0\.0\.0\.0_\d%2B\.downstream_rq_total"
    r"|tcp\.inbound\|\d%2B\|\|\.downstream_cx_total)$"
)
"""Asks Envoy's admin interface for the counters of every declared port."""


def parse(body: str) -> Counter[int]:
    """Return the calls by port."""
    found: Counter[int] = Counter()
    for stat in json.loads(body).get("stats") or ():
        name: str = stat.get("name", "")
        number = name.removeprefix("http.inbound_0.0.0.0_").removeprefix("tcp.inbound|")
        digits = number.partition(".")[0].partition("|")[0]
        if digits.isdigit():
            found[int(digits)] += int(stat.get("value") or 0)
    return found


def with_calls(
    plan: Plan, meshed: Mapping[Party, Sequence[Object]], answers: Mapping[str, Counter[int]]
) -> Plan:
    """Return a plan with the calls of each port whose proxies all answered.

    Args:
        plan: The plan.
        meshed: Pods with a sidecar, by workload.
        answers: Calls by port, by uid of the pod.
    """

    def counted(port: Port) -> Port:
        uids = [pod["metadata"]["uid"] for pod in meshed.get(port.server, ())]
        if not port.number or any(uid not in answers for uid in uids):
            return port
        return replace(port, calls=sum(answers[uid][port.number] for uid in uids))

    return replace(plan, ports=tuple(map(counted, plan.ports)))


def pods_of(plan: Plan, meshed: Mapping[Party, Sequence[Object]]) -> list[Object]:
    """Return the pods to ask."""
    servers = dict.fromkeys(port.server for port in plan.ports)
    return [pod for party in servers for pod in meshed.get(party, ())]


def read(pods: Iterable[Object], answers: Iterable[Any]) -> dict[str, Counter[int]]:
    """Pair pods with their answers; a pod that did not answer is left out."""
    return {
        pod["metadata"]["uid"]: parse(answer[0])
        for pod, answer in zip(pods, answers, strict=True)
        if isinstance(answer, list)
    }


def counted(client: Client, plan: Plan, meshed: Mapping[Party, Sequence[Object]]) -> Plan:
    """Return a plan with the calls of each port, as far as the proxies tell them."""
    pods = pods_of(plan, meshed)
    answers = Admin(client).ask_each(pods, STATS) if pods else []
    return with_calls(plan, meshed, read(pods, answers))
