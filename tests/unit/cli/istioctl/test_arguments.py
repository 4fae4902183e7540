"""What istioctl's arguments mean."""

import pytest

from mutua.cli.istioctl import sidecar
from mutua.cli.istioctl.loggers import initial_level, parse_levels, parse_loggers
from mutua.cli.istioctl.table import render
from mutua.cli.istioctl.target import Target, parse_target
from mutua.controlplane import proxy_container
from mutua.foundation.errors import Rejected
from mutua.xds import bootstrap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web-1", Target("", "web-1", "here")),
        ("web-1.shop", Target("", "web-1", "shop")),
        ("deploy/web", Target("deploy", "web", "here")),
        ("deployment/web.shop", Target("deployment", "web", "shop")),
        ("statefulset/web.shop", Target("statefulset", "web", "shop")),
        ("svc/web.shop", Target("svc", "web", "shop")),
    ],
)
def test_pods_are_named_by_type_name_and_namespace(text, expected) -> None:
    assert parse_target(text, "here") == expected


@pytest.mark.parametrize("text", ["", "/web", "deploy/", ".shop", "web.", "a/b/c", "deploy/.x"])
def test_what_is_no_name_is_refused(text) -> None:
    with pytest.raises(Rejected, match="is not"):
        parse_target(text, "here")


def test_a_level_alone_is_for_every_logger() -> None:
    assert parse_levels("debug", {"http"}) == ["POST /logging?level=debug"]
    assert parse_levels("warn", ()) == ["POST /logging?level=warning"]


def test_levels_by_logger_change_only_those() -> None:
    assert parse_levels("http:trace,rbac:info", {"http", "rbac"}) == [
        "POST /logging?paths=http:trace,rbac:info"
    ]


def test_a_general_level_comes_before_those_of_single_loggers() -> None:
    assert parse_levels("http:debug,all:error", {"http"}) == [
        "POST /logging?level=error",
        "POST /logging?paths=http:debug",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("loud", "unrecognized logging level: loud"),
        ("http:loud", "unrecognized logging level: loud"),
        ("nope:debug", "unrecognized logger name: nope"),
        (",", "no level"),
    ],
)
def test_unknown_loggers_and_levels_are_refused(text, complaint) -> None:
    with pytest.raises(Rejected, match=complaint):
        parse_levels(text, {"http"})


def test_envoys_list_of_loggers_is_read() -> None:
    assert parse_loggers("active loggers:\n  admin: warning\n  http: info\n\n") == {
        "admin": "warning",
        "http": "info",
    }


def test_reset_means_the_level_the_pod_asked_for() -> None:
    chosen = {"metadata": {"annotations": {"sidecar.istio.io/logLevel": "info"}}}

    assert initial_level(chosen) == "info"
    assert initial_level({"metadata": {}}) == "warning"


def test_columns_are_five_blanks_apart_and_lines_do_not_end_in_blanks() -> None:
    assert render(("A", "LONG"), [("xx", "y"), ("x", "")]) == "A      LONG\nxx     y\nx"


def test_the_sidecar_is_where_the_control_plane_puts_it() -> None:
    assert sidecar.PROXY == proxy_container.PROXY
    assert sidecar.ADMIN_PORT == bootstrap.ADMIN_PORT
