"""The exercises of the mutual TLS tutorial, as commands with what each must show.

`walkthrough.py` shows them to a person, the test suite runs them as an executable transcript.
Every command is one that a user could type in `mutua shell`; `{kubectl}` is the real kubectl where
there is one, else `mutua kubectl`.  The exercises build on each other: policies stay until a later
one changes them, or the cleanup removes them.
"""

from dataclasses import replace
from typing import Final

from observation import Check, Step, answered, refused, shows, shows_no_other

NAMESPACE: Final = "spiffe://cluster.local/ns/mtls-test/sa/"
CLIENT: Final = f"{NAMESPACE}curl-client"

Exercise = tuple[str, tuple[Step, ...]]


def apply(why: str, file: str, last: str) -> Step:
    """Apply a manifest, whose last object must be there then."""
    done = shows(rf"^{last} (created|configured|unchanged)$")
    return Step(why, f"{{kubectl}} apply -f {file}", f"{last} is there", done)


def policy_in_force(why: str, names: str, namespace: str) -> Step:
    """Wait until every proxy that policies speak about enforces them."""
    command = "{kubectl} wait --for=condition=InForce peerauthentication"
    return Step(
        why,
        f"{command} {names} -n {namespace} --timeout=30s",
        "condition met",
        shows_no_other("", "condition met"),
    )


def available(why: str, what: str, namespace: str) -> Step:
    """Wait until the pods of Deployments, sidecars included, are ready."""
    return Step(
        why,
        f"{{kubectl}} wait --for=condition=Available deploy {what} -n {namespace} --timeout=60s",
        "condition met",
        shows_no_other("", "condition met"),
    )


def served(why: str, host: str, server: str = "httpbin") -> Step:
    """Call from inside the mesh: the answer must say that this happened over mutual TLS."""
    return _call(
        why,
        "-n mtls-test deploy/curl-client",
        host,
        f"200, caller {CLIENT}",
        answered(CLIENT, NAMESPACE + server),
    )


def served_in_plaintext(why: str, host: str) -> Step:
    """Call from a pod without a sidecar: the answer must come all the same."""
    expected = "200, caller without a certificate"
    return _call(why, "-n mtls-test plain-pod", host, expected, answered("", ""))


def cut_off(why: str, host: str, client: str = "-n mtls-test plain-pod") -> Step:
    """Call from a pod without a sidecar: there must be no answer."""
    return _call(why, client, host, "curl exit 52 or 56: closed without an answer", refused)


def at_first(step: Step) -> Step:
    """Be patient with the first call of a server that has just been started."""
    return replace(step, patience=30)


def _call(why: str, client: str, host: str, expected: str, check: Check) -> Step:
    command = f"{{kubectl}} exec {client} -- curl -s http://{host}/headers"
    return Step(why, command, expected, check)


PEER_AUTHENTICATION: Final = "peerauthentication.security.istio.io"

EXERCISES: Final[tuple[Exercise, ...]] = (
    (
        "Exercise 1: verify auto mTLS",
        (
            apply(
                "Deploy a server and two clients; no manifest mentions TLS.",
                "01-test-services.yaml",
                "deployment.apps/curl",
            ),
            available(
                "Wait until the pods, sidecars included, are ready.",
                "httpbin curl-client",
                "mtls-test",
            ),
            available("The client in the namespace without injection, too.", "curl", "default"),
            Step(
                "Ask which mode the server is in: nothing was configured, so it accepts both.",
                "{istioctl} authn tls-check deploy/httpbin -n mtls-test",
                "httpbin, port 8000: PERMISSIVE, and clients choose mutual TLS by themselves",
                shows(r"^httpbin\S+:8000 +AUTO +PERMISSIVE +ISTIO_MUTUAL "),
            ),
            at_first(
                served("Call it: the sidecars use mutual TLS without being asked.", "httpbin:8000")
            ),
        ),
    ),
    (
        "Exercise 2: enable strict mTLS globally",
        (
            apply(
                "One policy in the root namespace speaks for the whole mesh.",
                "02-strict-mtls-global.yaml",
                f"{PEER_AUTHENTICATION}/default",
            ),
            policy_in_force(
                "Wait until every proxy has said that it enforces it.", "default", "istio-system"
            ),
            Step(
                "Check the policy.",
                "{kubectl} get peerauthentication -A",
                "istio-system default STRICT",
                shows(r"^istio-system\s+default\s+STRICT"),
            ),
            served("The mesh's own client still gets through.", "httpbin:8000"),
            apply("Add a client without a sidecar.", "03-non-mesh-pod.yaml", "pod/plain-pod"),
            Step(
                "Wait until it runs.",
                "{kubectl} wait --for=condition=Ready pod/plain-pod -n mtls-test --timeout=60s",
                "condition met",
                shows(r"^pod/plain-pod condition met"),
            ),
            cut_off("Its plaintext request is refused.", "httpbin:8000"),
        ),
    ),
    (
        "Exercise 3: namespace-specific mTLS",
        (
            apply(
                "The same mode, for one namespace.",
                "04-namespace-mtls.yaml",
                f"{PEER_AUTHENTICATION}/default",
            ),
            policy_in_force("Wait until it is in force.", "default", "mtls-test"),
            served("Within the namespace it works.", "httpbin:8000"),
            cut_off(
                "From a namespace without sidecars it does not.",
                "httpbin.mtls-test:8000",
                client="-n default deploy/curl",
            ),
        ),
    ),
    (
        "Exercise 4: service-specific mTLS",
        (
            apply(
                "Two services, each with a policy of its own.",
                "05-service-mtls.yaml",
                f"{PEER_AUTHENTICATION}/httpbin-permissive",
            ),
            available("Wait until they run.", "--all", "mtls-test"),
            policy_in_force(
                "And until their policies are in force.",
                "httpbin-strict httpbin-permissive",
                "mtls-test",
            ),
            at_first(served("The STRICT one.", "httpbin-strict:8000", "httpbin-strict")),
            at_first(
                served(
                    "The PERMISSIVE one: sidecars use mutual TLS there as well.",
                    "httpbin-permissive:8000",
                    "httpbin-permissive",
                )
            ),
            cut_off("Plaintext shows the difference.", "httpbin-strict:8000"),
            at_first(
                served_in_plaintext(
                    "The service's policy wins over namespace and mesh.", "httpbin-permissive:8000"
                )
            ),
        ),
    ),
    (
        "Exercise 5: port-specific mTLS",
        (
            apply(
                "httpbin gets two more ports, and a policy that tells them apart.",
                "06-port-specific-mtls.yaml",
                f"{PEER_AUTHENTICATION}/httpbin",
            ),
            Step(
                "Its pod is replaced by one that listens on them.",
                "{kubectl} rollout status deploy/httpbin -n mtls-test --timeout=60s",
                "rolled out",
                shows(r"successfully rolled out"),
            ),
            policy_in_force("Wait until the policy is in force.", "httpbin", "mtls-test"),
            at_first(served("The STRICT port.", "httpbin:8080")),
            at_first(served_in_plaintext("The PERMISSIVE port, in plaintext.", "httpbin:8081")),
            cut_off("The STRICT port, in plaintext.", "httpbin:8080"),
            cut_off(
                "A port that the policy does not name keeps the namespace's mode.", "httpbin:8000"
            ),
        ),
    ),
    (
        "Exercise 6: migration from plaintext to mTLS",
        (
            apply(
                "Step 1: accept both.",
                "07-migration-step1-permissive.yaml",
                f"{PEER_AUTHENTICATION}/httpbin",
            ),
            policy_in_force("Wait until that is in force.", "--all", "mtls-test"),
            served_in_plaintext("Plaintext is served again.", "httpbin:8000"),
            served("So is mutual TLS.", "httpbin:8000"),
            Step(
                "Step 2: the server has a certificate, without which nobody could use mutual TLS.",
                "{istioctl} proxy-config secret deploy/httpbin -n mtls-test",
                "default, ACTIVE, valid",
                shows(r"^default +Cert Chain +ACTIVE +true "),
            ),
            Step(
                "Its proxy counts TLS handshakes: callers do use it.",
                "{kubectl} exec -n mtls-test deploy/httpbin -c istio-proxy -- "
                "curl localhost:15000/stats | grep ssl",
                "at least one handshake",
                shows(r"^listener\S+15006\.ssl\.handshake: [1-9]"),
            ),
            apply(
                "Step 3: accept nothing else any more.",
                "08-migration-step2-strict.yaml",
                f"{PEER_AUTHENTICATION}/httpbin",
            ),
            policy_in_force("Wait until that is in force.", "--all", "mtls-test"),
            Step(
                "Step 4: every port of httpbin is STRICT.",
                "{istioctl} authn tls-check deploy/httpbin -n mtls-test",
                "STRICT, for all three of them",
                shows_no_other(r"^httpbin\.mtls-test", r":(8000|8080|8081) +AUTO +STRICT "),
            ),
            served("The mesh's own client never noticed.", "httpbin:8000"),
            cut_off("Plaintext is over.", "httpbin:8000"),
        ),
    ),
)

CERTIFICATES: Final[tuple[Exercise, ...]] = (
    (
        "Exercise 7: certificate inspection",
        (
            Step(
                "What the proxy holds, as the proxy tells it; the private key is not shown.",
                "{istioctl} proxy-config secret deploy/httpbin -n mtls-test -o json",
                "dynamicActiveSecrets",
                shows(r'"dynamicActiveSecrets": \['),
            ),
            Step(
                "The certificate names the workload.",
                "{kubectl} exec -n mtls-test deploy/httpbin -c istio-proxy -- "
                "cat /etc/certs/cert-chain.pem | openssl x509 -text -noout",
                f"URI:{NAMESPACE}httpbin",
                shows(rf"URI:{NAMESPACE}httpbin$"),
            ),
            Step(
                "The files of a proxy: chain, key and root.",
                "{kubectl} exec -n mtls-test deploy/httpbin -c istio-proxy -- ls -la /etc/certs/",
                "cert-chain.pem, key.pem, root-cert.pem",
                shows(r" key\.pem"),
            ),
        ),
    ),
    (
        "Exercise 8: custom CA certificate",
        (
            Step(
                "Make a CA of your own with openssl.",
                "./create-custom-ca.sh",
                "ca-cert.pem: OK",
                shows(r"^ca-cert\.pem: OK"),
            ),
            Step(
                "Give it to the mesh.",
                "{kubectl} create secret generic cacerts -n istio-system --from-file=ca-cert.pem "
                "--from-file=ca-key.pem --from-file=root-cert.pem --from-file=cert-chain.pem",
                "created",
                shows(r"^secret/cacerts created"),
            ),
            Step(
                "Restart the control plane, as with Istio; here it would move without that, too.",
                "{kubectl} rollout restart deployment/istiod -n istio-system",
                "restarted",
                shows(r"^deployment\.apps/istiod restarted"),
            ),
            Step(
                "Wait until it is back.",
                "{kubectl} rollout status deployment/istiod -n istio-system --timeout=60s",
                "rolled out",
                shows(r"successfully rolled out"),
            ),
            Step(
                "Wait until every proxy has been moved, without losing a request.",
                "{kubectl} wait --for=condition=PluggedIn certificateauthority/mesh "
                "-n istio-system --timeout=60s",
                "condition met",
                shows(r"condition met"),
            ),
            Step(
                "Check who issued the workload's certificate.",
                "{kubectl} exec -n mtls-test deploy/httpbin -c istio-proxy -- "
                "cat /etc/certs/cert-chain.pem | openssl x509 -text -noout | grep Issuer",
                "Example Intermediate CA",
                shows(r"Issuer: O = Example, CN = Example Intermediate CA"),
            ),
            served("Nobody noticed.", "httpbin:8000"),
        ),
    ),
    (
        "Verify certificate rotation",
        (
            Step(
                "The certificate that the proxy presents, out of its own configuration.",
                "{istioctl} proxy-config secret deploy/httpbin -n mtls-test -o json | "
                "jq -r '.dynamicActiveSecrets[0].secret.tlsCertificate"
                ".certificateChain.inlineBytes' | base64 -d | openssl x509 -text -noout",
                "Not After",
                shows(r"Not After : "),
            ),
            Step(
                "The secrets of a proxy as a table.",
                "{istioctl} proxy-config secret deploy/httpbin -n mtls-test",
                "ROOTCA, ACTIVE, valid",
                shows(r"^ROOTCA +CA +ACTIVE +true "),
            ),
        ),
    ),
)
"""Exercises 7 and 8, and what the tutorial shows of certificates elsewhere."""

INVESTIGATION: Final[Exercise] = (
    "Verification and troubleshooting",
    (
        Step(
            "What applies to a pod, in words.",
            "{istioctl} x describe pod deploy/httpbin -n mtls-test",
            "STRICT",
            shows(r"Workload mTLS mode: STRICT"),
        ),
        Step(
            "One client, one server.",
            "{istioctl} authn tls-check deploy/curl-client.mtls-test deploy/httpbin.mtls-test",
            "STRICT, and the client complies",
            shows_no_other("^httpbin", r"^httpbin\.mtls-test\S+ +AUTO +STRICT +ISTIO_MUTUAL "),
        ),
        Step(
            "One client, every server: exercise 4 left an exception.",
            "{istioctl} authn tls-check deploy/curl-client -n mtls-test",
            "httpbin-permissive: PERMISSIVE, by its own policy",
            shows(r"^httpbin-permissive\S+ +AUTO +PERMISSIVE .* mtls-test/httpbin-permissive "),
        ),
        Step(
            "What could surprise: who is left without a sidecar is cut off.",
            "{istioctl} analyze -n mtls-test",
            "plain-pod has no sidecar",
            shows(r"^Warning .*pod/plain-pod has no sidecar"),
        ),
        Step(
            "Every policy there is.",
            "{kubectl} get peerauthentication -A",
            "httpbin STRICT",
            shows(r"^mtls-test\s+httpbin\s+STRICT"),
        ),
        Step(
            "Everything about them.",
            "{kubectl} get peerauthentication -A -o yaml",
            "a condition InForce",
            shows(r"type: InForce"),
        ),
        Step(
            "No client was configured by hand.",
            "{kubectl} get destinationrule -A -o yaml",
            "an empty list",
            shows(r"^items: \[\]"),
        ),
        Step(
            "Which pods have a sidecar: those with a container more than their manifest.",
            "{kubectl} get pods -n mtls-test -o wide",
            "plain-pod 1/1",
            shows(r"^plain-pod\s+1/1\s+Running"),
        ),
        Step(
            "A proxy says more.",
            "{istioctl} proxy-config log deploy/httpbin -n mtls-test --level debug",
            "loggers at level debug",
            shows(r"^ +http: debug"),
        ),
        Step(
            "A proxy's whole configuration.",
            "{kubectl} exec -n mtls-test deploy/httpbin -c istio-proxy -- "
            "curl localhost:15000/config_dump | jq '.configs[].dynamic_listeners'",
            "virtualInbound among the listeners",
            shows(r'"name": "virtualInbound"'),
        ),
        Step(
            "A restarted pod gets a new certificate.",
            "{kubectl} rollout restart deployment/httpbin -n mtls-test",
            "restarted",
            shows(r"^deployment.apps/httpbin restarted"),
        ),
    ),
)
"""What the tutorial shows beside its exercises, as far as it concerns policy."""

CLEANUP: Final[Exercise] = (
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
)
