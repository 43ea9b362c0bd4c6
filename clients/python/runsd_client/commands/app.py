"""The commands together: registers the commands, and turns errors into a line and an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from runsd_client.commands import (
    artifacts,
    decisions,
    definitions,
    draining,
    endings,
    records,
    schedules,
    start,
    starter,
    streams,
)
from runsd_client.commands.exit_status import ExitStatus, status_of_error
from runsd_client.commands.refusals import refusal
from runsd_client.commands.terminal import Screen
from runsd_client.errors import RunsError
from runsd_client.version import __version__

COMMANDS: dict[str, Callable[..., None]] = {
    "start": start.start,
    "get": records.get,
    "list": records.list_runs,
    "events": streams.events,
    "logs": streams.logs,
    "wait": endings.wait,
    "cancel": endings.cancel,
    "retry": start.retry,
    "signal": decisions.signal,
    "approve": decisions.approve,
    "reject": decisions.reject,
    "targets": definitions.targets,
    "artifacts": artifacts.artifacts,
    "watch": streams.watch,
    "reload": definitions.reload,
    "drain": draining.drain,
    "init": starter.init,
    "demo": starter.demo,
}


class RunsGroup(TyperGroup):
    """The outermost edge: whatever a command raises leaves as one line, never as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _discard_stdout()
            raise typer.Exit(ExitStatus.CLOSED_PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitStatus.INTERRUPTED) from None
        except RunsError as error:
            Screen().error(refusal(error))
            raise typer.Exit(status_of_error(error)) from None
        except OSError as error:
            Screen().error(f"{error.filename or 'error'}: {error.strerror or error}")
            raise typer.Exit(ExitStatus.FAILED) from None


app = typer.Typer(
    name="runs",
    cls=RunsGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(schedules.app, name="schedules")


def _show_version(wanted: bool) -> None:
    if wanted:
        Screen().line(("runs", ""), (__version__, ""))
        raise typer.Exit


@app.callback()
def runs(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Create durable runs, follow them live, and find out what became of them.

    A run executes a target: task:<id> or workflow:<id>. It goes on whatever happens to this command.

    With --json every command writes JSON with the names of the run record; its help says in which
    shape.

    \b
    Exit status:
      0    done; with --wait or --follow, the run completed
      1    the run failed; or another error
      2    refused: wrong usage, not found, exists already, not possible now; or
           (reload) a definition is broken
      3    the run was cancelled
      4    no daemon answers, for some 3 seconds
      130  Ctrl-C; the run goes on
      141  nobody reads what is written
    """


def main() -> None:
    """Runs the command and exits. A defect is a line, too."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    # A run's integers may have any size; Python's limit guards servers.
    sys.set_int_max_str_digits(0)
    try:
        app(prog_name="runs")
    except Exception as error:  # noqa: BLE001
        Screen().error(f"defect of this command: {type(error).__name__}: {error}; please report it")
        sys.exit(ExitStatus.FAILED)


def _discard_stdout() -> None:
    """Nobody reads any more; the interpreter's last flush must not complain."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (io.UnsupportedOperation, ValueError):
        sys.stdout = io.StringIO()
