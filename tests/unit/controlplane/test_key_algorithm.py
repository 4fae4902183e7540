"""From a pod's proxyMetadata to the kind of its key."""

import pytest

from mutua.api.verdict import Invalid
from mutua.controlplane.proxy_settings import proxy_settings
from mutua.identity.keys import KeyAlgorithm


def algorithm(metadata: str) -> KeyAlgorithm:
    config = f"proxyMetadata: {metadata}"
    pod = {"metadata": {"annotations": {"proxy.istio.io/config": config}}, "spec": {}}
    return proxy_settings(pod).key_algorithm


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("{}", KeyAlgorithm.P256),
        ("{ECC_SIGNATURE_ALGORITHM: ECDSA}", KeyAlgorithm.P256),
        ("{ECC_SIGNATURE_ALGORITHM: ECDSA, ECC_CURVE: P384}", KeyAlgorithm.P384),
        ("{ECC_CURVE: P384}", KeyAlgorithm.P384),
        ("{WORKLOAD_RSA_KEY_SIZE: 2048}", KeyAlgorithm.RSA2048),
        ('{WORKLOAD_RSA_KEY_SIZE: "4096"}', KeyAlgorithm.RSA4096),
        ("{WORKLOAD_RSA_KEY_SIZE: 3072, ECC_SIGNATURE_ALGORITHM: ECDSA}", KeyAlgorithm.P256),
    ],
)
def test_a_pod_chooses_the_kind_of_its_key(metadata: str, expected: KeyAlgorithm) -> None:
    assert algorithm(metadata) is expected


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ("{WORKLOAD_RSA_KEY_SIZE: 1024}", "WORKLOAD_RSA_KEY_SIZE must be one of 2048"),
        ("{ECC_CURVE: P521}", "ECC_CURVE must be one of P256, P384"),
        ("{ECC_SIGNATURE_ALGORITHM: ED25519}", "must be one of ECDSA"),
        ("{ECC_CURVE: P384, WORKLOAD_RSA_KEY_SIZE: 2048}", "exclude each other"),
        ("{LD_PRELOAD: x}", "proxyMetadata.LD_PRELOAD"),
        ("[x]", "must be a mapping"),
        ("{ECC_CURVE: [P256]}", "ECC_CURVE must be one of"),
    ],
)
def test_what_cannot_be_granted_is_refused(metadata: str, named: str) -> None:
    with pytest.raises(Invalid, match=named.replace(".", r"\.")):
        algorithm(metadata)
