"""Which kinds exist, under which names and versions.

One table answers for routing, discovery, `kubectl` short names and categories, and OpenAPI.  An
object is stored once, whatever version it was written in: versions of a kind differ only in the
text of apiVersion (kubectl-facade, section 1.6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mutua.api import object as names
from mutua.api.object import Resource

READ: Final = ("get", "list", "watch")
FORGET: Final = ("delete", "deletecollection", *READ)
WRITE: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of object.

    Attributes:
        resource: Group and plural.
        kind: As written in manifests.
        singular: As kubectl accepts on its command line.
        versions: Served versions, preferred first.
        namespaced: Whether objects live in a namespace.
        short_names: kubectl's abbreviations.
        categories: Groups of kinds, as in `kubectl get all`.
        subresources: Names below an object: "status", "log" …
        verbs: What the API offers on the kind itself.
        stored: False for requests that only have an answer, such as access reviews.
    """

    resource: Resource
    kind: str
    singular: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = WRITE
    stored: bool = True

    @property
    def storage_version(self) -> str:
        """The version objects are stored in."""
        return self.versions[0]

    @property
    def is_custom(self) -> bool:
        """Whether Kubernetes would know this kind only from a CustomResourceDefinition."""
        return self.resource.group.endswith((".istio.io", "mutua.io"))

    def api_version(self, version: str = "") -> str:
        """Return apiVersion as written in objects; the preferred version by default."""
        version = version or self.storage_version
        return f"{self.resource.group}/{version}" if self.resource.group else version


def _istio(
    resource: Resource, kind: str, short_name: str, versions: tuple[str, ...] = ("v1", "v1beta1")
) -> Kind:
    area = resource.group.partition(".")[0]
    return Kind(
        resource=resource,
        kind=kind,
        singular=kind.lower(),
        versions=versions,
        short_names=(short_name,),
        categories=("istio-io", f"{area}-istio-io"),
        subresources=("status",),
    )


def _review(group: str, kind: str) -> Kind:
    return Kind(
        resource=Resource(group, f"{kind.lower()}s"),
        kind=kind,
        singular=kind.lower(),
        namespaced=False,
        verbs=("create",),
        stored=False,
    )


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        resource=names.NAMESPACES,
        kind="Namespace",
        singular="namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=("status",),
        verbs=tuple(verb for verb in WRITE if verb != "deletecollection"),
    ),
    Kind(
        resource=names.PODS,
        kind="Pod",
        singular="pod",
        short_names=("po",),
        categories=("all",),
        subresources=("status", "log", "exec"),
    ),
    Kind(
        resource=names.SERVICES,
        kind="Service",
        singular="service",
        short_names=("svc",),
        categories=("all",),
        subresources=("status",),
    ),
    Kind(
        resource=names.SERVICE_ACCOUNTS,
        kind="ServiceAccount",
        singular="serviceaccount",
        short_names=("sa",),
        subresources=("token",),
    ),
    Kind(resource=names.SECRETS, kind="Secret", singular="secret"),
    Kind(resource=names.CONFIG_MAPS, kind="ConfigMap", singular="configmap", short_names=("cm",)),
    Kind(resource=names.EVENTS, kind="Event", singular="event", short_names=("ev",)),
    Kind(
        resource=names.NODES,
        kind="Node",
        singular="node",
        namespaced=False,
        short_names=("no",),
        subresources=("status",),
    ),
    Kind(
        resource=names.DEPLOYMENTS,
        kind="Deployment",
        singular="deployment",
        short_names=("deploy",),
        categories=("all",),
        subresources=("status", "scale"),
    ),
    Kind(
        resource=names.REPLICA_SETS,
        kind="ReplicaSet",
        singular="replicaset",
        short_names=("rs",),
        categories=("all",),
        subresources=("status",),
    ),
    Kind(
        resource=names.STATEFUL_SETS,
        kind="StatefulSet",
        singular="statefulset",
        short_names=("sts",),
        categories=("all",),
        subresources=("status", "scale"),
    ),
    Kind(
        resource=names.CONTROLLER_REVISIONS,
        kind="ControllerRevision",
        singular="controllerrevision",
    ),
    Kind(resource=names.ENDPOINT_SLICES, kind="EndpointSlice", singular="endpointslice"),
    Kind(
        resource=names.CUSTOM_RESOURCE_DEFINITIONS,
        kind="CustomResourceDefinition",
        singular="customresourcedefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        verbs=READ,
    ),
    _istio(names.PEER_AUTHENTICATIONS, "PeerAuthentication", "pa"),
    _istio(names.AUTHORIZATION_POLICIES, "AuthorizationPolicy", "ap"),
    _istio(names.DESTINATION_RULES, "DestinationRule", "dr", ("v1", "v1beta1", "v1alpha3")),
    _istio(names.SERVICE_ENTRIES, "ServiceEntry", "se", ("v1", "v1beta1", "v1alpha3")),
    Kind(
        resource=names.PLAINTEXT_CALLERS,
        kind="PlaintextCaller",
        singular="plaintextcaller",
        versions=("v1alpha1",),
        short_names=("ptc",),
        verbs=FORGET,
    ),
    Kind(
        resource=names.CERTIFICATE_AUTHORITIES,
        kind="CertificateAuthority",
        singular="certificateauthority",
        versions=("v1alpha1",),
        short_names=("ca",),
        subresources=("status",),
    ),
    Kind(
        resource=names.WORKLOAD_CERTIFICATES,
        kind="WorkloadCertificate",
        singular="workloadcertificate",
        versions=("v1alpha1",),
        short_names=("wcert",),
        verbs=READ,
    ),
    Kind(
        resource=names.REVOCATIONS,
        kind="Revocation",
        singular="revocation",
        versions=("v1alpha1",),
        subresources=("status",),
    ),
)
"""Every kind that is stored."""

REVIEWS: Final[tuple[Kind, ...]] = (
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authentication.k8s.io", "TokenReview"),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
)
"""Questions to the server: created, answered, never stored."""

_BY_RESOURCE: Final = {kind.resource: kind for kind in (*KINDS, *REVIEWS)}
_BY_NAME: Final = {
    (kind.api_version(version), kind.kind): kind
    for kind in (*KINDS, *REVIEWS)
    for version in kind.versions
}


def kind_of(resource: Resource) -> Kind:
    """Return the kind stored under `resource`.

    Raises:
        KeyError: No such kind.  A bug: resources in code come from `mutua.api.object`.
    """
    return _BY_RESOURCE[resource]


def find_kind(group: str, version: str, plural: str) -> Kind | None:
    """Return the kind a URL means, or None."""
    kind = _BY_RESOURCE.get(Resource(group, plural))
    return kind if kind is not None and version in kind.versions else None


def find_by_kind(api_version: str, kind_name: str) -> Kind | None:
    """Return the kind a manifest means (apiVersion and kind), or None."""
    return _BY_NAME.get((api_version, kind_name))


def group_versions() -> Sequence[tuple[str, str]]:
    """Return every (group, version) served, preferred versions of a group first."""
    seen: dict[tuple[str, str], None] = {}
    for kind in (*KINDS, *REVIEWS):
        for version in kind.versions:
            seen.setdefault((kind.resource.group, version))
    groups = list(dict.fromkeys(group for group, _ in seen))
    return sorted(seen, key=lambda pair: groups.index(pair[0]))


def kinds_in(group: str, version: str) -> tuple[Kind, ...]:
    """Return the kinds served in one group and version."""
    return tuple(
        kind
        for kind in (*KINDS, *REVIEWS)
        if kind.resource.group == group and version in kind.versions
    )
