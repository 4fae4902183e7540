"""Schemas of mutua's own kinds."""

from typing import Final

from mutua.api.shape import INT64, PORT, STRING, STRINGS, TIME, struct
from mutua.api.tables.meta import root

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
