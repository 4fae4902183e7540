"""`virtualInbound`, row by row: istio-semantics sections 2.1 to 2.6."""

# ruff: noqa: E501 - tables
from itertools import product
from typing import Any

import pytest

from mutua.api.mesh_config import (
    AccessLog,
    CaCertificate,
    PathNormalization,
    TlsProfile,
    TlsVersion,
)
from mutua.api.security import MutualTlsMode
from mutua.model.service import Protocol
from mutua.model.settings import MeshSettings
from mutua.model.workload import InboundPort
from mutua.xds.compile.inbound import InboundShape, virtual_inbound
from mutua.xds.compile.modes import InboundModes
from mutua.xds.proto import (
    DownstreamTlsContext,
    FileAccessLog,
    HttpConnectionManager,
    Listener,
    TcpProxy,
    enum_value,
    unpack,
)

STRICT, PERMISSIVE, DISABLE = (
    MutualTlsMode.STRICT,
    MutualTlsMode.PERMISSIVE,
    MutualTlsMode.DISABLE,
)
MODES = (STRICT, PERMISSIVE, DISABLE)
PORT = 8080
ISTIO_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
ISTIO_TCP = ("istio-peer-exchange", "istio")
ISTIO_ALL = (*ISTIO_TCP, *ISTIO_HTTP)
PLAIN_HTTP = ("http/1.1", "h2c")


def compiled(
    *ports: InboundPort,
    default: MutualTlsMode = PERMISSIVE,
    exceptions: dict[int, MutualTlsMode] | None = None,
    overlap: bool = False,
    **settings: Any,
) -> Any:
    modes = InboundModes(default, tuple(sorted((exceptions or {}).items())), overlap)
    resource = virtual_inbound(InboundShape(ports, modes), MeshSettings(**settings))
    return Listener.FromString(resource.body)


def row(chain: Any) -> tuple[str, tuple[str, ...], str]:
    """Return a chain as the table writes it: transport, ALPN, [mTLS→]what reads it."""
    match = chain.filter_chain_match
    reader = chain.filters[-1].name.rpartition(".")[2]
    reads = {"http_connection_manager": "HTTP", "tcp_proxy": "TCP"}[reader]
    terminates = "mTLS→" if chain.HasField("transport_socket") else ""
    return match.transport_protocol, tuple(match.application_protocols), terminates + reads


def chains_of(listener: Any, port: int | None) -> list[Any]:
    return [
        chain
        for chain in listener.filter_chains
        if (chain.filter_chain_match.destination_port.value or None) == port
    ]


SNIFFED = {
    STRICT: [("tls", ISTIO_HTTP, "mTLS→HTTP"), ("tls", (), "mTLS→TCP")],
    PERMISSIVE: [
        ("tls", ISTIO_HTTP, "mTLS→HTTP"),
        ("raw_buffer", PLAIN_HTTP, "HTTP"),
        ("tls", ISTIO_TCP, "mTLS→TCP"),
        ("raw_buffer", (), "TCP"),
        ("tls", (), "TCP"),
    ],
    DISABLE: [("raw_buffer", PLAIN_HTTP, "HTTP"), ("raw_buffer", (), "TCP")],
}
TABLE = {
    "HTTP": {
        STRICT: [("tls", (), "mTLS→HTTP")],
        PERMISSIVE: [("tls", ISTIO_ALL, "mTLS→HTTP"), ("raw_buffer", (), "HTTP")],
        DISABLE: [("raw_buffer", (), "HTTP")],
    },
    "TCP": {
        STRICT: [("tls", (), "mTLS→TCP")],
        PERMISSIVE: [("tls", ISTIO_ALL, "mTLS→TCP"), ("tls", (), "TCP"), ("raw_buffer", (), "TCP")],
        DISABLE: [("raw_buffer", (), "TCP")],
    },
    "AUTO": SNIFFED,
}
CLASSES = {
    "HTTP": (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB),
    "TCP": (Protocol.TCP, Protocol.HTTPS, Protocol.TLS, Protocol.MONGO, Protocol.MYSQL, Protocol.REDIS),
    "AUTO": (Protocol.AUTO,),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "mode"), [*product(TABLE, MODES)])
def test_table_2_3_of_a_declared_port(kind: str, mode: MutualTlsMode) -> None:
    for protocol in CLASSES[kind]:
        listener = compiled(InboundPort(PORT, protocol), default=mode)

        assert sorted(map(row, chains_of(listener, PORT))) == sorted(TABLE[kind][mode])


@pytest.mark.parametrize("mode", MODES)
def test_table_2_3_of_every_other_port(mode: MutualTlsMode) -> None:
    listener = compiled(default=mode)

    assert sorted(map(row, chains_of(listener, None))) == sorted(SNIFFED[mode])


@pytest.mark.parametrize("mode", MODES)
def test_a_port_that_only_a_policy_names_is_passed_through_in_its_own_mode(
    mode: MutualTlsMode,
) -> None:
    default = DISABLE if mode is not DISABLE else STRICT
    listener = compiled(default=default, exceptions={PORT: mode})

    own = chains_of(listener, PORT)

    assert sorted(map(row, own)) == sorted(SNIFFED[mode])
    assert {chain.name for chain in own} == {
        "virtualInbound" if "TCP" in row(chain)[2] else "virtualInbound-catchall-http"
        for chain in own
    }
    assert {destination(chain) for chain in own} == {"InboundPassthroughCluster"}


def destination(chain: Any) -> str:
    config = chain.filters[-1].typed_config
    if "TCP" in row(chain)[2]:
        return str(TcpProxy.FromString(config.value).cluster)
    manager = HttpConnectionManager.FromString(config.value)
    return str(manager.route_config.virtual_hosts[0].routes[0].route.cluster)


def test_chains_have_the_names_and_clusters_of_section_2_1() -> None:
    listener = compiled(InboundPort(PORT, Protocol.AUTO))

    assert [(chain.name, destination(chain)) for chain in listener.filter_chains] == [
        ("virtualInbound-blackhole", "BlackHoleCluster"),
        ("virtualInbound-catchall-http", "InboundPassthroughCluster"),
        ("virtualInbound", "InboundPassthroughCluster"),
        ("virtualInbound", "InboundPassthroughCluster"),
        ("virtualInbound-catchall-http", "InboundPassthroughCluster"),
        ("virtualInbound", "InboundPassthroughCluster"),
        *[(f"0.0.0.0_{PORT}", f"inbound|{PORT}||")] * 5,
    ]
    assert listener.filter_chains[0].filter_chain_match.destination_port.value == 15006


def test_ports_follow_each_other_by_number() -> None:
    ports = [InboundPort(number, Protocol.TCP) for number in (80, 443, 9000)]
    listener = compiled(*ports, default=STRICT)

    found = [chain.filter_chain_match.destination_port.value for chain in listener.filter_chains]

    assert found == [15006, 0, 0, 80, 443, 9000]


def test_the_proxys_own_port_is_never_served_whoever_declares_it() -> None:
    listener = compiled(InboundPort(15006, Protocol.HTTP), exceptions={15006: STRICT})

    assert [chain.name for chain in chains_of(listener, 15006)] == ["virtualInbound-blackhole"]


def is_inspected(listener: Any, inspector: str, port: int) -> bool:
    """Tell whether a listener filter looks at connections to a port."""
    found = [one for one in listener.listener_filters if one.name.endswith(inspector)]
    if not found:
        return False
    [one] = found
    return not (one.HasField("filter_disabled") and holds(one.filter_disabled, port))


def holds(predicate: Any, port: int) -> bool:
    match predicate.WhichOneof("rule"):
        case "any_match":
            return bool(predicate.any_match)
        case "destination_port_range":
            wanted = predicate.destination_port_range
            return bool(wanted.start <= port < wanted.end)
        case "or_match":
            return any(holds(one, port) for one in predicate.or_match.rules)
        case "not_match":
            return not holds(predicate.not_match, port)
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize(("default", "kind", "mode"), [*product(MODES, TABLE, MODES)])
def test_a_port_is_inspected_exactly_for_what_its_chains_ask(
    default: MutualTlsMode, kind: str, mode: MutualTlsMode
) -> None:
    """DISABLE must not look for TLS, or an application's own TLS would not reach it."""
    protocol = CLASSES[kind][0]
    neighbour = InboundPort(PORT + 1, Protocol.TCP)
    ports = (InboundPort(PORT, protocol), neighbour)
    listener = compiled(*ports, default=default, exceptions={PORT: mode, PORT + 1: DISABLE})

    for port, rows in (
        (PORT, TABLE[kind][mode]),
        (PORT + 1, TABLE["TCP"][DISABLE]),
        (9999, SNIFFED[default]),
    ):
        tells_tls = any(transport == "tls" for transport, _, _ in rows)
        tells_http = any(alpn == PLAIN_HTTP for _, alpn, _ in rows)
        assert is_inspected(listener, "tls_inspector", port) == tells_tls
        assert is_inspected(listener, "http_inspector", port) == tells_http


def test_the_skeleton_of_section_2_1() -> None:
    listener = compiled(InboundPort(PORT, Protocol.AUTO))

    assert (listener.name, listener.traffic_direction) == ("virtualInbound", 1)
    address = listener.address.socket_address
    assert (address.address, address.port_value) == ("0.0.0.0", 15006)
    assert [one.name.rpartition(".")[2] for one in listener.listener_filters] == [
        "original_dst",
        "tls_inspector",
        "http_inspector",
    ]
    assert listener.continue_on_listener_filters_timeout
    assert listener.HasField("listener_filters_timeout")
    assert listener.listener_filters_timeout.ToMilliseconds() == 5000
    assert listener.max_connections_to_accept_per_socket_event.value == 1


@pytest.mark.parametrize(
    ("overlap", "setting", "wait"),
    [
        (False, 0, 5000),
        (False, 60, 60_000),
        (False, 2.5, 2500),
        (True, 0, 1000),
        (True, 2.5, 1000),
        (True, 0.2, 200),
    ],
)
def test_the_wait_for_first_bytes_is_the_meshs_and_short_while_a_mode_changes(
    *, overlap: bool, setting: float, wait: int
) -> None:
    listener = compiled(detection_timeout=setting, overlap=overlap)

    assert listener.listener_filters_timeout.ToMilliseconds() == wait


def tls_context(**settings: Any) -> Any:
    listener = compiled(InboundPort(PORT, Protocol.HTTP), default=STRICT, **settings)
    [chain] = chains_of(listener, PORT)
    return DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)


def test_the_tls_context_of_section_2_5() -> None:
    context = tls_context()
    common = context.common_tls_context

    assert context.require_client_certificate.value
    assert list(common.alpn_protocols) == ["h2", "http/1.1"]
    assert common.tls_certificate_sds_secret_configs[0].name == "default"
    validation = common.combined_validation_context
    assert validation.validation_context_sds_secret_config.name == "ROOTCA"
    for secret in (
        common.tls_certificate_sds_secret_configs[0],
        validation.validation_context_sds_secret_config,
    ):
        source = secret.sds_config.api_config_source
        assert source.grpc_services[0].envoy_grpc.cluster_name == "sds-grpc"
        assert source.set_node_on_first_message_only
        assert secret.sds_config.initial_fetch_timeout.ToMilliseconds() == 0
    parameters = common.tls_params
    assert (parameters.tls_minimum_protocol_version, parameters.tls_maximum_protocol_version) == (
        3,
        4,
    )
    assert list(parameters.cipher_suites) == [
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
    ]
    assert list(parameters.ecdh_curves) == ["X25519MLKEM768", "X25519", "P-256"]


def test_versions_ciphers_and_curves_are_the_meshs() -> None:
    profile = TlsProfile(
        minimum=TlsVersion.TLS_1_3, curves=("X25519MLKEM768",), ciphers=("AES128-SHA",)
    )

    parameters = tls_context(mesh_tls=profile).common_tls_context.tls_params

    assert parameters.tls_minimum_protocol_version == 4
    assert list(parameters.ecdh_curves) == ["X25519MLKEM768"]
    assert list(parameters.cipher_suites) == ["AES128-SHA"]


def test_servers_accept_the_trust_domain_and_its_aliases_each_once() -> None:
    common = tls_context(
        trust_domain="td1",
        trust_domain_aliases=("td2", "td1", "td3"),
        ca_certificates=(
            CaCertificate(pem="PEM", trust_domains=("td3", "td4")),
            CaCertificate(pem="", trust_domains=("td5",)),
        ),
    ).common_tls_context
    context = common.combined_validation_context.default_validation_context

    assert [
        (one.san_type, one.matcher.prefix) for one in context.match_typed_subject_alt_names
    ] == [(3, f"spiffe://{name}/") for name in ("td1", "td2", "td3", "td4")]


def manager(**settings: Any) -> Any:
    listener = compiled(InboundPort(PORT, Protocol.HTTP), default=DISABLE, **settings)
    [chain] = chains_of(listener, PORT)
    return HttpConnectionManager.FromString(chain.filters[-1].typed_config.value)


def test_the_connection_manager_of_section_2_6() -> None:
    found = manager()

    assert found.codec_type == HttpConnectionManager.AUTO
    assert found.server_name == "istio-envoy"
    assert found.HasField("use_remote_address")
    assert not found.use_remote_address.value
    assert found.forward_client_cert_details == HttpConnectionManager.APPEND_FORWARD
    details = found.set_current_client_cert_details
    assert (details.subject.value, details.uri, details.dns, details.cert, details.chain) == (
        *(True, True, True),
        *(False, False),
    )
    assert found.stream_idle_timeout.ToMilliseconds() == 0
    assert found.preserve_external_request_id
    assert [one.upgrade_type for one in found.upgrade_configs] == ["websocket"]
    assert found.route_config.name == f"inbound|{PORT}||"
    [route] = found.route_config.virtual_hosts[0].routes
    assert route.route.retry_policy.retry_on == "reset-before-request"
    assert route.route.retry_policy.num_retries.value == 2


KEEP, UNESCAPE = 1, 4


@pytest.mark.parametrize(("normalization", "expected"), [
    (PathNormalization.NONE,                     (False, False, KEEP)),
    (PathNormalization.BASE,                     (True, False, KEEP)),
    (PathNormalization.MERGE_SLASHES,            (True, True, KEEP)),
    (PathNormalization.DECODE_AND_MERGE_SLASHES, (True, True, UNESCAPE)),
])  # fmt: skip
def test_paths_are_normalised_as_the_mesh_says(
    normalization: PathNormalization, expected: tuple[bool, bool, int]
) -> None:
    found = manager(path_normalization=normalization)

    assert found.HasField("normalize_path")
    action = found.path_with_escaped_slashes_action or KEEP  # 0 is Envoy's default, which keeps
    assert (found.normalize_path.value, found.merge_slashes, action) == expected


def files(found: Any) -> list[Any]:
    return [one for one in found.access_log if one.name == "envoy.access_loggers.file"]


def logs(found: Any) -> list[str]:
    return [FileAccessLog.FromString(one.typed_config.value).path for one in files(found)]


def test_nothing_is_logged_unless_asked() -> None:
    assert logs(manager()) == []
    assert logs(compiled()) == []


def test_requests_connections_and_refusals_are_logged_when_asked() -> None:
    log = AccessLog(file="/dev/stdout")
    listener = compiled(InboundPort(PORT, Protocol.TCP), default=DISABLE, access_log=log)
    [chain] = chains_of(listener, PORT)

    assert logs(manager(access_log=log)) == ["/dev/stdout"]
    assert logs(TcpProxy.FromString(chain.filters[-1].typed_config.value)) == ["/dev/stdout"]
    assert logs(listener) == ["/dev/stdout"]
    assert list(listener.access_log[0].filter.response_flag_filter.flags) == ["NR"]


def test_a_log_has_one_line_per_request_although_its_start_is_reported() -> None:
    [log] = files(manager(access_log=AccessLog(file="/dev/stdout")))

    assert list(log.filter.log_type_filter.types) == [
        enum_value("envoy.data.accesslog.v3.AccessLogType", "DownstreamEnd")
    ]


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.TCP, Protocol.AUTO])
@pytest.mark.parametrize("mode", [STRICT, PERMISSIVE, DISABLE])
def test_only_what_proves_no_identity_is_reported(mode: MutualTlsMode, protocol: Protocol) -> None:
    listener = compiled(InboundPort(PORT, protocol), default=mode)

    for chain in chains_of(listener, PORT):
        config = unpack(chain.filters[-1].typed_config)
        is_mutual = chain.HasField("transport_socket")
        assert bool(config.access_log) is not is_mutual


def test_refusals_are_not_logged_when_listeners_are_to_be_silent() -> None:
    listener = compiled(access_log=AccessLog(file="/dev/stdout", unmatched=False))

    assert logs(listener) == []


def test_a_line_is_istios_field_by_field() -> None:
    [log] = files(manager(access_log=AccessLog(file="/dev/stdout")))
    line = FileAccessLog.FromString(log.typed_config.value).log_format.text_format_source

    assert line.inline_string == (
        '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
        '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
        '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
        '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
        "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
    )


KEYS = """
    start_time route_name method path protocol response_code response_flags response_code_details
    connection_termination_details bytes_received bytes_sent duration upstream_service_time
    x_forwarded_for user_agent request_id authority upstream_host upstream_cluster
    upstream_local_address downstream_local_address downstream_remote_address
    requested_server_name upstream_transport_failure_reason
"""


def test_an_object_has_istios_keys() -> None:
    [log] = files(manager(access_log=AccessLog(file="/dev/stdout", encoding="JSON")))
    found = FileAccessLog.FromString(log.typed_config.value).log_format.json_format

    assert sorted(found.fields) == sorted(KEYS.split())


def test_a_users_own_line_ends_as_lines_do() -> None:
    [log] = files(manager(access_log=AccessLog(file="/dev/stdout", format="%PROTOCOL%")))
    line = FileAccessLog.FromString(log.typed_config.value).log_format.text_format_source

    assert line.inline_string == "%PROTOCOL%\n"
