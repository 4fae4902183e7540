from mutua.identity.renewal import JITTER_FRACTION, RENEWAL_FRACTION
from mutua.model.settings import MeshSettings
from mutua.xds.compile.lifetime import (
    CLIENT_SHARE,
    SERVER_SHARE,
    client_lifetime,
    server_lifetime,
)


def test_a_connection_ends_within_the_life_of_the_oldest_certificate_it_may_begin_with() -> None:
    left = 1 - RENEWAL_FRACTION * (1 + JITTER_FRACTION)

    assert CLIENT_SHARE < SERVER_SHARE < left


def test_shares_are_of_the_meshs_lifetime_in_whole_milliseconds() -> None:
    day, short = MeshSettings(), MeshSettings(workload_cert_ttl=30.0)

    assert client_lifetime(day) == 30240
    assert client_lifetime(short) == 10.5
    assert server_lifetime(short)["http1_safe_max_connection_duration"] is True
