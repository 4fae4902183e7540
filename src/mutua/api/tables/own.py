"""Schemas of mutua's own kinds."""

from typing import Final

from mutua.api.shape import BOOLEAN, INT64, PORT, STRING, STRINGS, TIME, ListOf, Scalar, struct
from mutua.api.tables.meta import CONDITIONS, root

PLAINTEXT_CALLER: Final = root(
    "PlaintextCaller",
    "spec",
    spec=struct(
        "PlaintextCallerSpec",
        "server port caller",
        server=struct("PlaintextServer", "kind name", kind=STRING, name=STRING),
        port=PORT,
        caller=struct("PlaintextParty", "kind name", kind=STRING, namespace=STRING, name=STRING),
    ),
    status=struct(
        "PlaintextCallerStatus",
        firstSeen=TIME,
        lastSeen=TIME,
        count=INT64,
        lastRefused=TIME,
        refused=INT64,
        protocol=STRING,
        host=STRING,
        serviceAccount=STRING,
        address=STRING,
        process=STRING,
        pods=STRINGS,
        reason=STRING,
        message=STRING,
        object=STRING,
        detail=STRING,
    ),
)

_CERTIFICATE: Final = struct(
    "AuthorityCertificate",
    subject=STRING,
    serialNumber=STRING,
    fingerprint=STRING,
    keyAlgorithm=STRING,
    notBefore=TIME,
    notAfter=TIME,
    source=STRING,
)

CERTIFICATE_AUTHORITY: Final = root(
    "CertificateAuthority",
    spec=struct(
        "CertificateAuthoritySpec",
        rotation=struct(
            "RotationRequest",
            "id replace",
            id=STRING,
            replace=Scalar("string", enum=("Root", "Intermediate")),
            abort=BOOLEAN,
            ignoreElsewhere=BOOLEAN,
        ),
    ),
    status=struct(
        "CertificateAuthorityStatus",
        issuing=_CERTIFICATE,
        roots=ListOf(_CERTIFICATE),
        rotation=struct(
            "RotationProgress",
            id=STRING,
            replaces=STRING,
            stage=STRING,
            since=TIME,
            aborted=BOOLEAN,
            waitingFor=STRINGS,
            message=STRING,
        ),
        lastRequest=STRING,
        message=STRING,
        conditions=CONDITIONS,
    ),
)

WORKLOAD_CERTIFICATE: Final = root(
    "WorkloadCertificate",
    status=struct(
        "WorkloadCertificateStatus",
        spiffeID=STRING,
        serialNumber=STRING,
        issuer=STRING,
        signer=struct("CertificateSigner", fingerprint=STRING, notAfter=TIME),
        notBefore=TIME,
        notAfter=TIME,
        renewAt=TIME,
        keyAlgorithm=STRING,
        roots=STRINGS,
        rootsConfirmed=BOOLEAN,
        lastIssuedAt=TIME,
        failures=INT64,
        lastError=STRING,
    ),
)

REVOCATION: Final = root(
    "Revocation",
    "spec",
    spec=struct(
        "RevocationSpec",
        spiffeID=STRING,
        pod=struct("RevokedPod", "namespace name uid", namespace=STRING, name=STRING, uid=STRING),
        serialNumber=STRING,
        reason=STRING,
        requestedBy=STRING,
    ),
    status=struct(
        "RevocationStatus",
        summary=STRING,
        certificates=ListOf(
            struct(
                "RevokedCertificate",
                "serialNumber notAfter",
                serialNumber=STRING,
                notAfter=TIME,
            )
        ),
        connectionsClosed=INT64,
        refused=INT64,
        conditions=CONDITIONS,
    ),
)
