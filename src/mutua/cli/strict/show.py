"""A plan for people, and for programs."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from mutua.api.age import human_duration
from mutua.cli.strict.judge import Judgement, State
from mutua.cli.strict.survey import ANY_PORT, Plan, Port, Verdict
from mutua.controlplane.ledger.ledger import Entry
from mutua.controlplane.ledger.watch import Watched
from mutua.foundation.clock import rfc3339
from mutua.xds.sighting import Speaks

HEADER: Final = ("NAMESPACE", "WORKLOAD", "PORT", "MODE", "VERDICT", "CALLS", "WITHOUT MTLS")

CALLER_HEADER: Final = ("SERVER", "PORT", "CALLER", "STATE", "WHY", "COUNT", "LAST SEEN")
WIDE_HEADER: Final = ("FIRST SEEN", "SPOKE", "ASKED FOR", "ADDRESS", "ACCOUNT", "PROCESS")

NOTHING: Final = "-"


def port_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return one row per port."""
    return [
        (
            port.server.namespace,
            port.server.short.removesuffix(f".{port.server.namespace}"),
            _number(port),
            port.mode.value,
            _verdict(port),
            NOTHING if port.calls is None else str(port.calls),
            str(len(port.callers) or NOTHING),
        )
        for port in plan.ports
    ]


def caller_rows(plan: Plan, now: datetime, *, wide: bool) -> list[tuple[str, ...]]:
    """Return one row per caller."""
    rows = []
    for port in plan.ports:
        for one in port.callers:
            entry = one.entry
            row = (
                port.server.short,
                _number(port),
                entry.key.caller.short,
                _state(port, one),
                one.finding.reason.value,
                str(entry.count),
                _ago(entry.last_seen, now),
            )
            rows.append((*row, *_wide(entry, now)) if wide else row)
    return rows


def caller_header(*, wide: bool) -> tuple[str, ...]:
    """Return the header of `caller_rows`."""
    return (*CALLER_HEADER, *WIDE_HEADER) if wide else CALLER_HEADER


def explanations(plan: Plan) -> Iterator[str]:
    """Yield, for each caller that blocks or is refused, why and what to do."""
    for one in (*plan.blockers, *plan.refused):
        key = one.entry.key
        yield f"{key.caller.short} to {key.server.short} port {key.port}"
        yield f"  because {one.finding.message}"
        if one.remedy:
            yield f"  {one.remedy}"


def notes(plan: Plan, watched: Watched | None, now: datetime) -> Iterator[str]:
    """Yield what a plan cannot know, and what it rests on."""
    for party, number in plan.unprotected:
        yield f"port {number} of {party.short} does not pass its proxy: no policy protects it"
    for party in plan.outside:
        yield f"{party.short} has no sidecar: no policy protects it"
    silent = sum(port.calls == 0 for port in plan.ports if port.verdict is Verdict.READY)
    if silent:
        yield f"of the ports that are READY, {silent} had no call since the proxies started"
    if watched is None:
        yield "nobody has been watching: the ledger is empty"
        return
    since = f"watched for {human_duration(now - watched.since)}, since {rfc3339(watched.since)}"
    if watched.gaps:
        since += f", but not for {human_duration(watched.missed)} in between"
    yield f"{since}; who calls less often than that is not known"
    if watched.displaced:
        yield f"{watched.displaced} callers did not fit into the ledger and were dropped"


def verdict(plan: Plan) -> str:
    """Say the verdict in one line."""
    if plan.blockers:
        return f"NOT READY: {_callers(plan.blockers)} would be refused"
    if not plan.ports:
        return "READY: there is nothing with a sidecar"
    if plan.refused:
        return f"READY: nobody more would be refused; {_callers(plan.refused)} already refused"
    if not plan.changes:
        return "READY: nothing has to change"
    return "READY: nobody who is known would be refused"


def document(plan: Plan, watched: Watched | None) -> dict[str, Any]:
    """Return a plan for programs."""
    return {
        "verdict": "READY" if plan.is_ready else "NOT READY",
        "watched": _watched(watched),
        "ports": [_port(port) for port in plan.ports],
        "withoutSidecar": [party.short for party in plan.outside],
        "notThroughProxy": [
            {"workload": party.short, "port": number} for party, number in plan.unprotected
        ],
    }


def _port(port: Port) -> dict[str, Any]:
    return {
        "namespace": port.server.namespace,
        "workload": {"kind": port.server.kind, "name": port.server.name},
        "port": port.number or None,
        "mode": port.mode.value,
        "becomes": port.becomes.value,
        "policy": port.policy,
        "verdict": port.verdict.value,
        "calls": port.calls,
        "callers": [caller_document(one, _state(port, one)) for one in port.callers],
    }


def caller_document(one: Judgement, state: str) -> dict[str, Any]:
    """Return a caller for programs."""
    entry, caller = one.entry, one.entry.key.caller
    return {
        "kind": caller.kind,
        "namespace": caller.namespace,
        "name": caller.name,
        "serviceAccount": entry.account,
        "address": entry.address,
        "process": entry.process,
        "state": state,
        "reason": one.finding.reason.value,
        "because": one.finding.message,
        "object": one.finding.object,
        "remedy": one.remedy,
        "count": entry.count,
        "firstSeen": rfc3339(entry.first_seen),
        "lastSeen": None if entry.last_seen is None else rfc3339(entry.last_seen),
        "refused": entry.refused,
        "lastRefused": None if entry.last_refused is None else rfc3339(entry.last_refused),
        "protocol": entry.speaks.value,
        "host": entry.host,
    }


def _callers(judged: Sequence[Judgement]) -> str:
    count = len({one.entry.key.caller for one in judged})
    return "1 caller" if count == 1 else f"{count} callers"


def _watched(watched: Watched | None) -> dict[str, Any] | None:
    if watched is None:
        return None
    return {
        "since": rfc3339(watched.since),
        "gaps": [[rfc3339(begin), rfc3339(end)] for begin, end in watched.gaps],
        "dropped": watched.displaced,
    }


def _number(port: Port) -> str:
    return "*" if port.number == ANY_PORT else str(port.number)


def _verdict(port: Port) -> str:
    if port.verdict is Verdict.KEPT:
        return f"stays {port.becomes.value} ({port.policy or 'no policy'})"
    return str(port.verdict.value)


def _state(port: Port, one: Judgement) -> str:
    if one.state is State.BLOCKS and port.verdict is Verdict.STRICT:
        return f"refused {one.entry.refused}x" if one.entry.refused else "would be refused"
    if one.state is State.BLOCKS and port.verdict is Verdict.KEPT:
        return "accepted"
    return one.state.value


def _wide(entry: Entry, now: datetime) -> tuple[str, ...]:
    spoke = "its own TLS" if entry.speaks is Speaks.TLS else entry.speaks.value
    known = (spoke, entry.host, entry.address, entry.account, entry.process)
    return (_ago(entry.first_seen, now), *(text or NOTHING for text in known))


def _ago(instant: datetime | None, now: datetime) -> str:
    return "never" if instant is None else human_duration(now - instant)
