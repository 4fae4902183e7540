"""The shape of an object on the wire and in the store: Kubernetes JSON.

Objects travel as plain JSON values.  Nobody mutates an object that came from a store or a watch:
copy first.  Code that decides on mesh policy uses the typed values of the sibling modules.
"""

from dataclasses import dataclass
from typing import Any

from typing_extensions import override

Object = dict[str, Any]
"""One JSON object with apiVersion, kind and metadata."""


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """The identity of a kind in the store, independent of its versions.

    Attributes:
        group: API group, "" for core.
        plural: Lower-case plural, as in URLs.
    """

    group: str
    plural: str

    @override
    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The address of one object.  `namespace` is "" for cluster-scoped kinds."""

    resource: Resource
    namespace: str
    name: str


NAMESPACES = Resource("", "namespaces")
PODS = Resource("", "pods")
SERVICES = Resource("", "services")
SERVICE_ACCOUNTS = Resource("", "serviceaccounts")
SECRETS = Resource("", "secrets")
CONFIG_MAPS = Resource("", "configmaps")
EVENTS = Resource("", "events")
NODES = Resource("", "nodes")
DEPLOYMENTS = Resource("apps", "deployments")
REPLICA_SETS = Resource("apps", "replicasets")
STATEFUL_SETS = Resource("apps", "statefulsets")
CONTROLLER_REVISIONS = Resource("apps", "controllerrevisions")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "endpointslices")
CUSTOM_RESOURCE_DEFINITIONS = Resource("apiextensions.k8s.io", "customresourcedefinitions")
PEER_AUTHENTICATIONS = Resource("security.istio.io", "peerauthentications")
AUTHORIZATION_POLICIES = Resource("security.istio.io", "authorizationpolicies")
DESTINATION_RULES = Resource("networking.istio.io", "destinationrules")
SERVICE_ENTRIES = Resource("networking.istio.io", "serviceentries")
CERTIFICATE_AUTHORITIES = Resource("mutua.io", "certificateauthorities")
PLAINTEXT_CALLERS = Resource("mutua.io", "plaintextcallers")
WORKLOAD_CERTIFICATES = Resource("mutua.io", "workloadcertificates")
REVOCATIONS = Resource("mutua.io", "revocations")
