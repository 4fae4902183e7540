"""Exercises 1 to 3 of the mutual TLS tutorial, as commands with what each must show.

`walkthrough.py` shows them to a person, the test suite runs them as an executable transcript.
Every command is one that a user could type in `mutua shell`; `{kubectl}` is the real kubectl where
there is one, else `mutua kubectl`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CLIENT: Final = "spiffe://cluster.local/ns/mtls-test/sa/curl-client"
SERVER: Final = "spiffe://cluster.local/ns/mtls-test/sa/httpbin"

REFUSED: Final = {
    52: "the server closed the connection without an answer",
    56: "the server reset the connection",
}
"""How curl reports a refused plaintext connection: exit codes of curl(1)."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen, in one line, and whether it is what was expected."""

    matched: bool
    seen: str


Check = Callable[[Result], Observation]


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tutorial.

    Attributes:
        why: What the reader learns, one sentence.
        command: A shell command; `{kubectl}` and `{mutua}` are replaced.
        expected: What must be seen, one line.
        check: Looks at the result.
    """

    why: str
    command: str
    expected: str
    check: Check


def succeeded(result: Result) -> Observation:
    """Expect exit status 0; show the last line that was printed."""
    lines = (result.stdout if result.status == 0 else result.stderr or result.stdout).strip()
    last = lines.splitlines()[-1] if lines else "no output"
    return Observation(result.status == 0, last if result.status == 0 else f"failed: {last}")


def shows(pattern: str) -> Check:
    """Expect success and a line of output that matches `pattern`; show that line."""

    def check(result: Result) -> Observation:
        if result.status != 0:
            return succeeded(result)
        for line in result.stdout.splitlines():
            if re.search(pattern, line):
                return Observation(matched=True, seen=" ".join(line.split()))
        return Observation(matched=False, seen=f"no line like {pattern!r} in: {result.stdout!r}")

    return check


def answered_over_mtls(result: Result) -> Observation:
    """Expect httpbin's echo of the headers, with the caller's certified identity among them."""
    if result.status != 0:
        return succeeded(result)
    try:
        headers = json.loads(result.stdout)["headers"]
    except (ValueError, KeyError, TypeError):
        return Observation(matched=False, seen=f"not httpbin's answer: {result.stdout[:200]!r}")
    xfcc = headers.get("X-Forwarded-Client-Cert", "")
    fields = dict(part.split("=", 1) for part in xfcc.split(";") if "=" in part)
    seen = f"200, caller {fields.get('URI', 'without a certificate')}"
    return Observation(fields.get("URI") == CLIENT and fields.get("By") == SERVER, seen)


def refused(result: Result) -> Observation:
    """Expect curl to have been cut off: no status line, no body."""
    match = re.search(r"exit code (\d+)", result.stderr)
    code = int(match[1]) if match else result.status
    why = REFUSED.get(code)
    if why is None or result.stdout:
        return Observation(matched=False, seen=f"curl exit {code}, answer {result.stdout[:200]!r}")
    return Observation(matched=True, seen=f"curl exit {code}: {why}")


CALL: Final = (
    "{kubectl} exec -n mtls-test deploy/curl-client -- curl -s http://httpbin:8000/headers"
)

IN_FORCE: Final = (
    "{kubectl} wait --for=condition=InForce peerauthentication/default -n %s --timeout=30s"
)

EXERCISES: Final[tuple[tuple[str, tuple[Step, ...]], ...]] = (
    (
        "Exercise 1: verify auto mTLS",
        (
            Step(
                "Deploy a server and two clients; no manifest mentions TLS.",
                "{kubectl} apply -f 01-test-services.yaml",
                "every object is created",
                shows(r"deployment.apps/httpbin (created|configured|unchanged)"),
            ),
            Step(
                "Wait until the pods, sidecars included, are ready.",
                "{kubectl} wait --for=condition=Available deploy --all -n mtls-test --timeout=60s",
                "both deployments become available",
                shows(r"deployment.apps/httpbin condition met"),
            ),
            Step(
                "The client in the namespace without injection, too.",
                "{kubectl} wait --for=condition=Available deploy/curl -n default --timeout=60s",
                "it becomes available",
                shows(r"deployment.apps/curl condition met"),
            ),
            Step(
                "Ask which mode the server is in: nothing was configured, so both are accepted.",
                "{mutua} status -n mtls-test",
                "httpbin, port 80: PERMISSIVE",
                shows(r"httpbin.*\b80\b.*PERMISSIVE"),
            ),
            Step(
                "Call it: the sidecars use mutual TLS without being asked.",
                CALL,
                f"200, caller {CLIENT}",
                answered_over_mtls,
            ),
        ),
    ),
    (
        "Exercise 2: enable strict mTLS globally",
        (
            Step(
                "One policy in the root namespace speaks for the whole mesh.",
                "{kubectl} apply -f 02-strict-mtls-global.yaml",
                "it is created",
                shows(
                    r"peerauthentication.security.istio.io/default (created|configured|unchanged)"
                ),
            ),
            Step(
                "Wait until every proxy has said that it enforces it.",
                IN_FORCE % "istio-system",
                "condition met",
                shows(r"condition met"),
            ),
            Step(
                "Check the policy.",
                "{kubectl} get peerauthentication -A",
                "istio-system default STRICT",
                shows(r"istio-system\s+default\s+STRICT"),
            ),
            Step(
                "The mesh's own client still gets through.",
                CALL,
                f"200, caller {CLIENT}",
                answered_over_mtls,
            ),
            Step(
                "A pod without a sidecar has no certificate.",
                "{kubectl} apply -f 03-non-mesh-pod.yaml",
                "it is created",
                shows(r"pod/plain-pod (created|configured|unchanged)"),
            ),
            Step(
                "Wait for it.",
                "{kubectl} wait --for=condition=Ready pod/plain-pod -n mtls-test --timeout=60s",
                "condition met",
                shows(r"pod/plain-pod condition met"),
            ),
            Step(
                "Its plaintext request is refused.",
                "{kubectl} exec -n mtls-test plain-pod -- curl -s http://httpbin:8000/headers",
                "curl exit 52 or 56: closed without an answer",
                refused,
            ),
        ),
    ),
    (
        "Exercise 3: namespace-specific mTLS",
        (
            Step(
                "The same mode, for one namespace.",
                "{kubectl} apply -f 04-namespace-mtls.yaml",
                "it is created",
                shows(
                    r"peerauthentication.security.istio.io/default (created|configured|unchanged)"
                ),
            ),
            Step(
                "Wait until it is in force.",
                IN_FORCE % "mtls-test",
                "condition met",
                shows(r"condition met"),
            ),
            Step(
                "Within the namespace it works.",
                CALL,
                f"200, caller {CLIENT}",
                answered_over_mtls,
            ),
            Step(
                "From a namespace without sidecars it does not.",
                "{kubectl} exec -n default deploy/curl -- curl -s http://httpbin.mtls-test:8000/headers",
                "curl exit 52 or 56: closed without an answer",
                refused,
            ),
        ),
    ),
    (
        "Cleanup",
        (
            Step(
                "Remove what the exercises made.",
                "{kubectl} delete namespace mtls-test",
                "deleted",
                shows(r'namespace "mtls-test" deleted'),
            ),
            Step(
                "And every policy.",
                "{kubectl} delete peerauthentication --all -A",
                "deleted",
                shows(r'"default" deleted'),
            ),
        ),
    ),
)
