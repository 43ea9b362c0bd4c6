"""`runs cancel` and `runs wait`: how runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect, run_goes_on
from runsd_client.commands.exit_status import ExitStatus, status_of_run
from runsd_client.commands.formats import show_ending, status_style
from runsd_client.commands.terminal import Screen
from runsd_client.errors import NotFoundError, PreconditionError

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient


def cancel(
    run_ids: Annotated[list[str], typer.Argument(help="The ids of runs.", show_default=False)],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")] = "",
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{cancelled, run} a line")] = False,
) -> None:
    """Ask runs to end. One that has ended already is left as it is.

    The exit status is 2 when there is none of an id; the others are asked all the same.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        done = [_cancel(client, run_id, reason, screen, as_json) for run_id in run_ids]
    if not all(done):
        raise typer.Exit(ExitStatus.REFUSED)


def _cancel(client: RunsClient, run_id: str, reason: str, screen: Screen, as_json: bool) -> bool:
    """False when this one cannot be cancelled; the others still can."""
    try:
        answer = client.cancel(run_id, reason=reason)
    except (NotFoundError, PreconditionError) as error:
        screen.error(error.message)
        return False
    run = answer.run
    if as_json:
        screen.json(answer.to_dict(), in_stream=True)
    else:
        asked = "cancellation asked for" if not run.status.is_terminal else ""
        remark = asked if answer.cancelled else "had ended already"
        screen.line((run.run_id, "bold"), (run.status, status_style(run.status)), (remark, "dim"))
    return True


def wait(
    run_id: options.RunId,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up after that many seconds.")
    ] = None,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the run")] = False,
) -> None:
    """Wait until a run has ended. Exit status: 0 completed, 1 failed, 3 cancelled."""
    screen = Screen()
    with connect(address, project, screen) as client, run_goes_on(run_id, screen):
        run = client.wait(run_id, timeout)
    if as_json:
        screen.json(run.to_dict())
    else:
        show_ending(screen, run)
    raise typer.Exit(status_of_run(run.status))
