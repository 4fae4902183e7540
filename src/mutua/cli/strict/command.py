"""`mutua strict`: the click side; what is decided comes from the modules next to it."""

import json
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

import click

from mutua.cli.columns import print_columns
from mutua.cli.main import layout_of, mesh_options
from mutua.foundation.errors import Rejected

HOME: Final = "istio-system"
"""Where the ledger's and the report's ConfigMap are."""


@click.group()
def command() -> None:
    """Move to STRICT without fear: see who would fail, then switch in waves that turn back."""


def scope_options(function: Any) -> Any:
    """Give a command the options that say what is to become STRICT."""
    for option in (
        click.option(
            "--since",
            "patience",
            default=None,
            metavar="TIME",
            help="Callers silent for longer do not count: 30s, 10m, 24h, 7d. Default: all count.",
        ),
        click.option(
            "--workload",
            default="",
            metavar="[TYPE/]NAME",
            help="Only this workload, such as deploy/web.",
        ),
        click.option("-A", "--all-namespaces", is_flag=True, help="All; the default."),
        click.option("-n", "--namespace", default="", help="Only this namespace."),
    ):
        function = option(function)
    return mesh_options(function)


@command.command()
@scope_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
)
def plan(name: str | None, state_dir: str | None, output: str, **wanted: Any) -> int:
    """Show who still calls without mutual TLS, why, and what to do about it.

    Exits with 0 when READY, with 1 when NOT READY.
    """
    from mutua.cli.client import connect
    from mutua.cli.strict import show, traffic
    from mutua.cli.strict.read import read_survey, read_watched
    from mutua.cli.strict.target import scopes

    with connect(layout_of(name, state_dir)) as client:
        survey = read_survey(client, wanted["patience"])
        chosen = scopes(survey, **_meant(wanted), root_namespace=survey.settings.root_namespace)
        made = survey.plan(chosen)
        watched = read_watched(client, HOME)
        made = traffic.counted(client, made, survey.meshed)
    if output in {"json", "yaml"}:
        _print_document(show.document(made, watched), output)
    else:
        print_columns(show.HEADER, show.port_rows(made))
        if callers := show.caller_rows(made, survey.now, wide=output == "wide"):
            click.echo()
            print_columns(show.caller_header(wide=output == "wide"), callers)
        for block in (show.explanations(made), show.notes(made, watched, survey.now)):
            if lines := [*block]:
                click.echo("\n" + "\n".join(lines))
        click.echo(f"\n{show.verdict(made)}")
    return 0 if made.is_ready else 1


@command.command()
@scope_options
@click.option(
    "--wave",
    type=click.Choice(["namespace", "workload"]),
    default="namespace",
    show_default=True,
    help="What changes at a time.",
)
@click.option(
    "--watch",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="How long nobody may be refused until the next wave; connections are drained for 45 s.",
)
@click.option("--known-only", is_flag=True, help="Never revert for a caller not seen before.")
@click.option("--force", is_flag=True, help="Although it is NOT READY.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def apply(
    name: str | None,
    state_dir: str | None,
    wave: str,
    watch: str,
    output: str,
    *,
    known_only: bool,
    force: bool,
    yes: bool,
    dry_run: bool,
    **wanted: Any,
) -> int:
    """Switch to STRICT in waves; each is reverted by itself when a caller starts to fail.

    Exits with 0 when everything is STRICT, with 1 when a wave was reverted or nothing was done.
    """
    from mutua.cli.client import connect
    from mutua.cli.duration import parse_duration
    from mutua.cli.strict import report
    from mutua.cli.strict.read import read_survey
    from mutua.cli.strict.roll import Outcome, Roll
    from mutua.cli.strict.target import scopes, title
    from mutua.cli.strict.waves import Waves

    seconds = parse_duration(watch).total_seconds()
    with connect(layout_of(name, state_dir)) as client:
        survey = read_survey(client, wanted["patience"])
        root = survey.settings.root_namespace
        chosen = scopes(
            survey,
            **_meant(wanted),
            by_workload=wave == "workload",
            root_namespace=root,
        )
        waves = Waves(
            scopes=[(scope, title(scope, root)) for scope in chosen],
            survey=lambda: read_survey(client, wanted["patience"]),
            force=force,
        )
        for line in waves.preview(survey):
            click.echo(line, err=True)
        waves.check(survey)
        if dry_run:
            return 0
        if not yes:
            _confirm()
        _interrupt_on_termination()
        tell = _teller(quiet=output == "json")
        roll = Roll(client, seconds, known_only=known_only, tell=tell)
        done, interrupted = waves.run(roll)
        found = report.document(done, survey.now)
        if any(one.outcome is not Outcome.NOTHING for one in done):
            report.keep(client, HOME, found)
    if output == "json":
        _print_document(found, output)
    else:
        print_columns(report.HEADER, report.rows(done))
        click.echo(f"\n{report.verdict(done)}")
    if interrupted:
        return 130
    return 0 if report.is_good(done) else 1


def _meant(wanted: dict[str, Any]) -> dict[str, Any]:
    if wanted["all_namespaces"] and (wanted["namespace"] or wanted["workload"]):
        raise Rejected("-A cannot be combined with -n or --workload")
    return {"namespace": wanted["namespace"], "workload": wanted["workload"]}


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise Rejected("nobody to ask: pass --yes, or --dry-run to see what would change")
    click.confirm("Switch?", abort=True, err=True)


def _teller(*, quiet: bool) -> Callable[[str], None]:
    return (lambda _text: None) if quiet else (lambda text: click.echo(text, err=True))


def _interrupt_on_termination() -> None:
    """Let SIGTERM do what Ctrl-C does: revert the wave, report, go."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _print_document(value: dict[str, Any] | Sequence[Any], output: str) -> None:
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        click.echo(json.dumps(value, indent=2))
