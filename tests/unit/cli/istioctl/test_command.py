"""What the command line says before it has asked any mesh."""

import json
import os
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from mutua.cli.istioctl.command import command
from mutua.cli.istioctl.scope import context_name
from mutua.cluster.apiserver.credentials import prepare_credentials, write_kubeconfig
from mutua.testing.clock import START, ManualClock


def _run(line: str, tmp_path: Path) -> Result:
    state = {"MUTUA_STATE_DIR": str(tmp_path), "HOME": str(tmp_path)}
    return CliRunner().invoke(command, shlex.split(line), env=state, prog_name="istioctl")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("dashboard", "'dashboard' is not built yet; there are: analyze, authn, experimental"),
        ("frobnicate", 'unknown command "frobnicate" for "istioctl"; there are: analyze, authn'),
        ("pc nonsense", 'no command "nonsense" in "pc"; there are: all, bootstrap'),
        ("x precheck", 'no command "precheck" in "x"; there are: describe'),
        ("pc cluster", "name a pod, such as deploy/web, or a file with -f"),
        ("pc cluster web -f dump.json", "name a pod"),
        ("pc cluster -f /nowhere/dump.json", "cannot read /nowhere/dump.json"),
        ("pc cluster --bogus", "No such option"),
        ("pc log web --level debug --reset", "cannot be combined"),
        ("pc log", "name a pod"),
        ("pc es web -t clusters -o prom", "-o prom is for --type server"),
        ("pc log web --proxy-admin-port 0", "Invalid value for '--proxy-admin-port'"),
        ("pc rc web api --proxy-admin-port 0", "Invalid value for '--proxy-admin-port'"),
        ("ps --proxy-admin-port 0", "Invalid value for '--proxy-admin-port'"),
        ("pc log web -o json", "Invalid value for '-o'"),
        ("ps -i elsewhere", "this mesh's Istio namespace is istio-system"),
        ("-i elsewhere ps", "this mesh's Istio namespace is istio-system"),
        ("ps --kubeconfig /etc/kubeconfig", "the kubeconfig of mesh 'mutua' is "),
        ("-c /etc/kubeconfig ps", "the kubeconfig of mesh 'mutua' is "),
        ("pc all web --context kind", "the context of mesh 'mutua' is mutua-mutua; another mesh"),
        ("analyze --revision canary", "no control plane has revision 'canary'; there is default"),
        ("kube-inject -f {file} -r canary", "no control plane has revision 'canary'"),
        ("kube-inject -f {file} --revision canary", "no control plane has revision 'canary'"),
        ("ps", "has not been started; run: mutua up"),
        ("analyze", "has not been started; run: mutua up"),
        ("analyze --timeout soon", "'soon' is not a time such as"),
        ("analyze --use-kube=false", "there is nothing to analyze: no files"),
        ("analyze /nowhere.yaml", 'the path "/nowhere.yaml" does not exist'),
        ("analyze -S IST0102 --use-kube=false {file}", "'IST0102' is not CODE=KIND NAME"),
        ("analyze -S IST9=Pod --use-kube=false {file}", "no analyzer has code 'IST9'"),
        ("--bogus", "No such option"),
    ],
)
def test_a_refusal_is_one_line_and_exit_status_1(line, complaint, tmp_path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")

    done = _run(line.format(file=file), tmp_path)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


@pytest.mark.parametrize("line", ["", "pc", "x", "authn", "x describe", "--help", "pc --help"])
def test_a_group_alone_shows_what_it_has(line, tmp_path) -> None:
    done = _run(line, tmp_path)

    assert (done.exit_code, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


@pytest.mark.parametrize(
    "line",
    [
        "version",
        "version --remote",
        "version --short=true",
        "version --kubeconfig {home}/kubeconfig --context mutua-mutua --revision default",
        "-c {home}/kubeconfig --context mutua-mutua -i istio-system version",
    ],
)
def test_the_clients_version_needs_no_mesh(line, tmp_path) -> None:
    done = _run(line.format(home=tmp_path), tmp_path)

    assert done.exit_code == 0
    assert done.stdout.startswith("client version: ")


def test_saved_dumps_are_read_and_judged(tmp_path) -> None:
    saved = tmp_path / "dump.json"
    saved.write_text(json.dumps({"configs": [
        {"@type": "x.ClustersConfigDump",
         "dynamic_active_clusters": [{"cluster": {"name": "inbound|80||"}}]}
    ]}))  # fmt: skip

    assert "inbound" in _run(f"pc cluster -f {saved}", tmp_path).stdout
    assert "No active or warming" in _run(f"pc secret -f {saved}", tmp_path).stdout
    assert "clusterStatuses" in _run(f"pc endpoint -f {saved}", tmp_path).stderr
    saved.write_text("{")
    assert "is not JSON" in _run(f"pc cluster -f {saved}", tmp_path).stderr
    saved.write_text("[]")
    assert "is not a saved answer" in _run(f"pc cluster -f {saved}", tmp_path).stderr
    saved.write_text("{}")
    assert "not an Envoy config dump" in _run(f"pc cluster -f {saved}", tmp_path).stderr


def test_what_takes_longer_than_its_time_is_one_line(tmp_path) -> None:
    waiting = tmp_path / "pipe"
    os.mkfifo(waiting)  # nobody ever writes to it

    done = _run(f"analyze --use-kube=false --timeout 1s {waiting}", tmp_path)

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: no answer within 1 s; see --timeout\n"


def test_injection_without_a_mesh_says_whose_settings_it_takes(tmp_path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")

    done = _run(f"kube-inject -f {file}", tmp_path)

    assert done.exit_code == 0
    assert "has not been started; default settings are assumed" in done.stderr


def test_bootstrap_and_extensions_in_short(tmp_path) -> None:
    saved = tmp_path / "dump.json"
    node = {"id": "sidecar~web", "locality": {"region": "eu", "zone": "eu-1"},
            "metadata": {"MUTUA_VERSION": "1"}}  # fmt: skip
    extension = {"name": "wasm", "typed_config": {"@type": "type.googleapis.com/x"}}
    saved.write_text(json.dumps({"configs": [
        {"@type": "x.BootstrapConfigDump", "bootstrap": {"node": node}},
        {"@type": "x.EcdsConfigDump", "ecds_filters": [{"ecds_filter": extension}]},
    ]}))  # fmt: skip

    assert _run(f"pc bootstrap -f {saved} -o short", tmp_path).stdout.splitlines() == [
        "Istio Version: 1", "Istio Proxy Version: 0.0.0", "Location: eu/eu-1", "Node: sidecar~web",
    ]  # fmt: skip
    said = [line.split() for line in _run(f"pc ec -f {saved}", tmp_path).stdout.splitlines()]
    assert said == [["ECDS", "NAME", "TYPE"], ["wasm", "type.googleapis.com/x"]]


def test_the_context_is_the_one_that_the_mesh_writes(tmp_path) -> None:
    path = tmp_path / "kubeconfig"
    credentials = prepare_credentials(tmp_path / "pki", ManualClock(START), None)

    write_kubeconfig(path, name="shop", port=1, credentials=credentials)

    assert yaml.safe_load(path.read_text())["current-context"] == context_name("shop")
