"""`runs get` and `runs list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.event_text import how_to_decide
from runsd_client.commands.formats import show_run, show_runs
from runsd_client.commands.options import read_json_option
from runsd_client.commands.terminal import Screen
from runsd_client.values import Page, PageInfo, Run, StepKind, StepState

if TYPE_CHECKING:
    from runsd_client.requests import RunFilters


def get(
    run_id: options.RunId,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the run")] = False,
) -> None:
    """Show a run, with the steps of a workflow.

    The steps are a tree, each with its state, how long it took, and what it waits for until when.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        run = client.get(run_id)
    if as_json:
        screen.json(run.to_dict())
    else:
        show_run(screen, run)
        _say_what_to_decide(screen, run)


def _say_what_to_decide(screen: Screen, run: Run) -> None:
    """To a person at a terminal: it stands beside the record."""
    if not screen.is_terminal or run.status.is_terminal:
        return
    for step in run.steps:
        if step.kind is StepKind.APPROVAL and step.state is StepState.WAITING:
            screen.note(f"{step.name} waits for a decision: `{how_to_decide(run.run_id, step.name)}`")


def list_runs(
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            help="pending, running, waiting, completed, failed or cancelled; may be given several times.",
        ),
    ] = None,
    target: Annotated[str, typer.Option("--target", help="Just this target.")] = "",
    kind: Annotated[str | None, typer.Option("--kind", help="task or workflow.")] = None,
    name_prefix: Annotated[str, typer.Option("--name-prefix", help="Names that begin so.")] = "",
    batch: Annotated[str, typer.Option("--batch", help="Runs of this batch.")] = "",
    parent: Annotated[str, typer.Option("--parent", metavar="RUN", help="Children of this run.")] = "",
    schedule: Annotated[str, typer.Option("--schedule", help="Runs of this schedule.")] = "",
    metadata: options.Metadata = None,
    limit: Annotated[int, typer.Option("--limit", help="How many on a page, 1 to 1000.")] = 50,
    page_token: Annotated[str, typer.Option("--page-token", help="Which page, as an earlier one said.")] = "",
    every_page: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data, page_info}")] = False,
) -> None:
    """List runs, newest first."""
    filters: RunFilters = {
        "statuses": status or [],
        "target": target,
        "name_prefix": name_prefix,
        "batch_id": batch,
        "parent_run_id": parent,
        "schedule_id": schedule,
        "metadata": read_json_option("--metadata", metadata, '{"team": "data"}'),
    }
    if kind is not None:
        filters["kind"] = kind
    screen = Screen()
    with connect(address, project, screen) as client:
        if every_page:
            page = Page(tuple(client.list_all(limit=limit, **filters)), PageInfo())
        else:
            page = client.list(limit=limit, page_token=page_token, **filters)
    _show_page(screen, page, as_json)


def _show_page(screen: Screen, page: Page[Run], as_json: bool) -> None:
    if as_json:
        screen.json(page.to_dict())
        return
    show_runs(screen, page.data)
    if page.page_info.next:
        screen.note(f"there are more: --page-token {page.page_info.next}, or --all")
