# ruff: noqa: E501 - the table is read across, one code per line
"""Every kind of problem that analysis knows.

`IST…` codes mean what they mean in Istio (istio-semantics section 10.4).  IST0113 is Istio's old
code for policies and rules that contradict each other; Istio dropped it, mutua keeps it.  `MUT…`
codes are mutua's own: Istio's semantics are kept, and said, where they are known to hurt.
"""

from typing import Final

from mutua.analysis.message import Code, Level

CODES: Final[dict[str, Code]] = {}
"""By their codes."""


def _code(code: str, level: Level, name: str, summary: str) -> Code:
    CODES[code] = Code(code, level, name, summary)
    return CODES[code]


I, W, E = Level.INFO, Level.WARNING, Level.ERROR  # noqa: E741 - columns of a table

# fmt: off
NOT_FOUND = _code("IST0101", E, "ReferencedResourceNotFound", "a policy speaks of something that does not exist")
NOT_INJECTED = _code("IST0102", I, "NamespaceNotInjected", "a namespace says neither yes nor no to injection")
NO_PROXY = _code("IST0103", W, "PodMissingProxy", "a pod should have a sidecar and has none")
SCHEMA_ERROR = _code("IST0106", E, "SchemaValidationError", "the API would refuse the object")
MISPLACED = _code("IST0107", W, "MisplacedAnnotation", "an annotation is on an object where it means nothing")
UNKNOWN_ANNOTATION = _code("IST0108", W, "UnknownAnnotation", "nothing reads this annotation of istio.io")
CONFLICT = _code("IST0113", E, "MTLSPolicyConflict", "a DestinationRule makes clients send what the PeerAuthentication in force does not accept")
TWO_PROTOCOLS = _code("IST0116", W, "DeploymentAssociatedToMultipleServices", "two Services lead to one port of a workload and disagree on its protocol")
PORT_NAME = _code("IST0118", I, "PortNameIsNotUnderNamingConvention", "a Service port does not say its protocol, so proxies guess")
TWO_LABELS = _code("IST0123", W, "NamespaceMultipleInjectionLabels", "a namespace has several labels about injection")
BAD_ANNOTATION = _code("IST0125", W, "InvalidAnnotation", "the value of an annotation is not acceptable")
NO_WORKLOAD = _code("IST0127", W, "NoMatchingWorkloadsFound", "a policy selects no workload")
UNVERIFIED = _code("IST0128", W, "NoServerCertificateVerificationDestinationLevel", "a rule's TLS names no roots to verify the server against")
UNVERIFIED_PORT = _code("IST0129", W, "NoServerCertificateVerificationPortLevel", "the same for one port")
SCHEMA_WARNING = _code("IST0133", W, "SchemaWarning", "the API would accept the object with a warning")
NO_ADDRESSES = _code("IST0134", W, "ServiceEntryAddressesRequired", "a TCP port of a ServiceEntry cannot be told from others without addresses")
DEPRECATED_ANNOTATION = _code("IST0135", I, "DeprecatedAnnotation", "Istio has given up this annotation")
ALPHA_ANNOTATION = _code("IST0136", I, "AlphaAnnotation", "an annotation may still change its meaning in Istio")
TWO_PORTS = _code("IST0137", W, "DeploymentConflictingPorts", "two Services lead to one port of a workload under different numbers")
LOOPBACK_ONLY = _code("IST0143", E, "LocalhostListener", "a container listens where its sidecar does not reach it, on 127.0.0.1")
PROXY_USER = _code("IST0144", W, "InvalidApplicationUID", "a container runs as the proxy's user, 1337")
AUTO_TEMPLATE = _code("IST0146", W, "ImageAutoWithoutInjectionWarning", "a template leaves its proxy's image to injection, which will not happen")
AUTO_POD = _code("IST0147", E, "ImageAutoWithoutInjectionError", "a pod left its proxy's image to injection, which did not happen")
OLD_PROXY = _code("IST0158", W, "PodsIstioProxyImageMismatchInNamespace", "a pod's proxy is of another version than the mesh")
INEFFECTIVE = _code("IST0167", W, "IneffectivePolicy", "a policy has no effect")
NEGATIVE = _code("IST0171", W, "NegativeConditionStatus", "a proxy refused what a policy or rule asks for")
EMPTY_SUBSET = _code("IST0173", E, "DestinationRuleSubsetNotSelectPods", "a rule's subset has no pods")
UNKNOWN_HOST = _code("IST0174", W, "UnknownDestinationRuleHost", "a rule's host is no Service and no ServiceEntry")
TWO_ENTRIES = _code("IST0177", W, "ConflictingServiceEntryProtocol", "two ServiceEntries disagree on the protocol of a host's port")

SERVICE_PORT = _code("MUT0101", W, "PortLevelMtlsServicePort", "portLevelMtls names a Service's port; it must name the workload's")
UNKNOWN_PORT = _code("MUT0102", W, "PortLevelMtlsUnknownPort", "portLevelMtls names a port that no container declares and no Service leads to")
NAMESPACE_OFF = _code("MUT0103", E, "StrictWhereClientsSendPlaintext", "a workload demands mTLS that DISABLE of the namespace, or enableAutoMtls: false, keeps clients from sending")
HEADLESS_OFF = _code("MUT0104", E, "HeadlessPortDisabled", "a workload of a headless Service does not take the mTLS that clients send")
HEADLESS_MIXED = _code("MUT0105", W, "HeadlessMixedEndpoints", "one pod without a sidecar makes a headless Service plaintext")
NO_SIDECAR = _code("MUT0106", W, "StrictWithoutSidecar", "STRICT speaks about pods that have no sidecar to enforce it")
NOT_CAPTURED = _code("MUT0107", W, "StrictPortNotCaptured", "STRICT speaks about a port that an annotation excludes from the sidecar")
NO_SERVICE = _code("MUT0108", W, "StrictPortWithoutService", "a port under STRICT is reached by pod address only, where clients send plaintext")
SPEAKS_FIRST = _code("MUT0109", W, "ServerSpeaksFirst", "proxies wait for a client's first bytes where the server speaks first")
NOT_ASKED = _code("MUT0110", W, "InjectionRequestIgnored", "a label or annotation asks for a sidecar in vain")
EMPTY_TLS = _code("MUT0111", W, "EmptyTlsDisables", "an empty tls block means DISABLE")
OVERSHADOWED = _code("MUT0112", W, "DestinationRuleOvershadowed", "a wildcard next to the client beats the rule for the very host")
REPLACED = _code("MUT0113", W, "PortLevelSettingsReplaceTls", "an entry of portLevelSettings drops the tls of the whole")
MERGED = _code("MUT0114", W, "DestinationRulesMerged", "an older rule for the same host leaves a rule without effect")
RULE_PORT = _code("MUT0115", W, "DestinationRuleUnknownPort", "portLevelSettings names a port that the Service does not have")
ENTRY_PLAINTEXT = _code("MUT0116", W, "ServiceEntryPlaintext", "sidecars send plaintext to a ServiceEntry that says it is inside of the mesh")
INCOMPLETE_SECRET = _code("MUT0117", E, "CredentialIncomplete", "the Secret that a rule names lacks the certificate, the key or the roots that it needs")
# fmt: on
