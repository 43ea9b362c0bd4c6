"""`runs schedules preview` and `runs schedules backfill`: when schedules are due, and were."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.moments import MomentReader
from runsd_client.commands.schedule_formats import show_occurrences, utc_text
from runsd_client.commands.schedule_options import (
    Anchor,
    At,
    EndAt,
    Every,
    StartAt,
    Timezone,
    read_options,
    typed_options,
)
from runsd_client.commands.terminal import Screen
from runsd_client.errors import FieldViolation, InvalidRequestError
from runsd_client.schedule_values import BackfilledRun
from runsd_client.values import rfc3339

if TYPE_CHECKING:
    from runsd_client.schedule_requests import TimetableOptions

# Occurrences are whole microseconds; those *after* the last one before a moment are those from it on.
_BEFORE = timedelta(microseconds=1)


def preview(
    context: typer.Context,
    cron: Annotated[
        str | None,
        typer.Argument(metavar="CRON", help="Such as '30 2 * * mon-fri'.", show_default=False),
    ] = None,
    timezone: Timezone = None,
    every: Every = None,
    at: At = None,
    schedule_id: Annotated[
        str, typer.Option("--schedule", metavar="SCHEDULE", help="One that is there, instead.")
    ] = "",
    anchor: Anchor = None,
    start_at: StartAt = None,
    end_at: EndAt = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="From then on, included; now unless given."),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many, 1 to 1000.")] = 10,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data}")] = False,
) -> None:
    """Tell when something would be due; nothing is created.

    Of a cron expression, an interval or a schedule: local time, UTC, and a note where a change of the clock
    moves it. A TIME is a date, which means midnight in the timezone, or as 2027-03-27T09:30:00+02:00.
    """
    if not (cron or every or at or schedule_id):
        raise typer.BadParameter(
            "give a cron expression, such as '30 2 * * mon-fri', or --every, --at or --schedule", param_hint="CRON"
        )
    screen = Screen()
    with connect(address, project, screen) as client:
        moments = MomentReader(
            client, lambda: client.schedules.get(schedule_id).spec.timezone if schedule_id else timezone or ""
        )
        timetable: TimetableOptions = read_options(typed_options(context), moments)
        after = moments.read("--from", start) - _BEFORE if start else None
        try:
            found = client.schedules.preview(schedule_id=schedule_id, after=after, count=count, **timetable)
        except InvalidRequestError as error:
            raise _typed_as_argument(error) from None
    if as_json:
        screen.json({"data": [occurrence.to_dict() for occurrence in found]})
        return
    if found:
        show_occurrences(screen, found)
    if len(found) < count:
        screen.note("nothing more is due" if found else "nothing is due")


def _typed_as_argument(error: InvalidRequestError) -> InvalidRequestError:
    """The expression is an argument here, where other commands have an option."""
    named = [FieldViolation("CRON", v.description) if v.field.split(".")[-1] == "cron" else v for v in error.violations]
    return InvalidRequestError(named, error.message, code=error.code, reason=error.reason)


def backfill(
    schedule_id: options.ScheduleId,
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Occurrences from then on, included.", show_default=False)
    ],
    end: Annotated[
        str,
        typer.Option("--to", metavar="TIME", help="Up to then, not included; not later than now.", show_default=False),
    ],
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data}")] = False,
) -> None:
    """Create the runs of past occurrences that have none.

    Up to 1000 at a time, all or none. It can be done again: an occurrence that has a run keeps it. A TIME is
    a date, which means midnight in the schedule's timezone, or as 2027-03-27T09:30:00+02:00.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        moments = MomentReader(client, lambda: client.schedules.get(schedule_id).spec.timezone)
        first, last = moments.read("--from", start), moments.read("--to", end)
        runs = client.schedules.backfill(schedule_id, first, last)
    if as_json:
        screen.json({"data": [run.to_dict() for run in runs]})
        return
    for run in runs:
        _show_backfilled(screen, run)
    if not runs:
        screen.note(f"nothing was due from {utc_text(first)} to {utc_text(last)}")


def _show_backfilled(screen: Screen, run: BackfilledRun) -> None:
    moment = utc_text(run.scheduled_for) if screen.is_terminal else rfc3339(run.scheduled_for)
    remark = "had been there before" if run.duplicate else ""
    screen.line((run.run_id or "queued", "bold"), (moment, ""), (remark, "dim"))
