"""`runs schedules`: how schedules stand, and what can be done to one that is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from runsd_client.commands import options, schedule_changes, schedule_times
from runsd_client.commands.connection import connect
from runsd_client.commands.schedule_formats import (
    in_brackets,
    next_text,
    show_further_problems,
    show_schedule,
    show_schedules,
)
from runsd_client.commands.start import AnswerAsJson, after_creation
from runsd_client.commands.terminal import Screen
from runsd_client.schedule_values import Schedule
from runsd_client.values import Page, PageInfo


def list_schedules(
    limit: Annotated[int, typer.Option("--limit", help="How many on a page, 1 to 1000.")] = 50,
    page_token: Annotated[str, typer.Option("--page-token", help="Which page, as an earlier one said.")] = "",
    every_page: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data, page_info}")] = False,
) -> None:
    """List schedules by id.

    The state is active, paused or over (nothing is due any more), and says which are declared in the
    project. What is wrong with a declaration is said below, also of one that was never in force.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        if every_page:
            page = Page(tuple(client.schedules.list_all(limit=limit)), PageInfo())
        else:
            page = client.schedules.list(limit=limit, page_token=page_token)
        problems = () if as_json else client.definitions().problems
    if as_json:
        screen.json(page.to_dict())
        return
    show_schedules(screen, page.data)
    show_further_problems(screen, page.data, problems)
    if page.page_info.next:
        screen.note(f"there are more: --page-token {page.page_info.next}, or --all")


def get(
    schedule_id: options.ScheduleId,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the schedule")] = False,
) -> None:
    """Show a schedule, and when it is due next.

    First how it is doing and what was skipped, then what it is set to.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        schedule = client.schedules.get(schedule_id)
    if as_json:
        screen.json(schedule.to_dict())
    else:
        show_schedule(screen, schedule)


def pause(
    schedule_id: options.ScheduleId,
    reason: Annotated[str, typer.Option("--reason", help="Who asks and why, for the record.")] = "",
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the schedule")] = False,
) -> None:
    """Make no more runs of a schedule until it is resumed.

    What would be due meanwhile is not made up for. Its runs go on.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        schedule = client.schedules.pause(schedule_id, reason=reason)
    _show(screen, schedule, "paused", in_brackets(schedule.pause_reason), as_json)


def resume(
    schedule_id: options.ScheduleId,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the schedule")] = False,
) -> None:
    """Go on with the next occurrence of a paused schedule."""
    screen = Screen()
    with connect(address, project, screen) as client:
        schedule = client.schedules.resume(schedule_id)
    _show(screen, schedule, "resumed,", next_text(schedule), as_json)


def delete(
    schedule_id: options.ScheduleId,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the schedule as it was")] = False,
) -> None:
    """Remove a schedule. It asks nothing; runs that it has made go on.

    One that is declared in the project is removed where it is declared.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        schedule = client.schedules.delete(schedule_id)
    _show(screen, schedule, "deleted,", "its runs go on", as_json)


def trigger(
    schedule_id: options.ScheduleId,
    name: Annotated[
        str, typer.Option("--name", "--run-name", help="A label of the run, instead of the schedule's.")
    ] = "",
    key: Annotated[
        str, typer.Option("--key", "--idempotency-key", metavar="KEY", help="The same key makes one run.")
    ] = "",
    follow: options.Follow = False,
    wait: options.Wait = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: AnswerAsJson = False,
) -> None:
    """Make a run of a schedule now, also of a paused one.

    Writes its id, and returns at once unless told to --follow or --wait: then it exits as `runs start` does.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        answer = client.schedules.trigger(schedule_id, run_name=name, idempotency_key=key)
        after_creation(answer, client, screen, follow=follow, wait=wait, as_json=as_json)


def _show(screen: Screen, schedule: Schedule, done: str, remark: str, as_json: bool) -> None:
    if as_json:
        screen.json(schedule.to_dict())
    else:
        screen.line((schedule.schedule_id, "bold"), (done, ""), (remark, "dim"))


COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_schedules,
    "get": get,
    "preview": schedule_times.preview,
    "create": schedule_changes.create,
    "update": schedule_changes.update,
    "pause": pause,
    "resume": resume,
    "delete": delete,
    "trigger": trigger,
    "backfill": schedule_times.backfill,
}

app = typer.Typer(
    help="See, make and change what creates runs later.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for name, command in COMMANDS.items():
    app.command(name)(command)
