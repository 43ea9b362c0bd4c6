"""`runs schedules create` and `runs schedules update`.

Their many options are taken from the context, by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands import schedule_options as of_schedules
from runsd_client.commands.connection import connect
from runsd_client.commands.moments import MomentReader
from runsd_client.commands.schedule_formats import next_text
from runsd_client.commands.schedule_options import option_of, read_options, typed_options
from runsd_client.commands.start import Target
from runsd_client.commands.terminal import Screen
from runsd_client.schedule_values import ScheduleSpec

# Of which a schedule has one.
_WAYS = frozenset({"cron", "every", "at"})


def create(
    context: typer.Context,
    schedule_id: Annotated[
        str,
        typer.Argument(metavar="SCHEDULE", help="Its id: letters, digits, _ . -, nested with /.", show_default=False),
    ],
    target: Target,
    cron: of_schedules.Cron = None,
    timezone: of_schedules.Timezone = None,
    every: of_schedules.Every = None,
    at: of_schedules.At = None,
    anchor: of_schedules.Anchor = None,
    start_at: of_schedules.StartAt = None,
    end_at: of_schedules.EndAt = None,
    description: of_schedules.Description = None,
    run_name: of_schedules.RunName = None,
    input: of_schedules.Input = None,
    config: of_schedules.Config = None,
    metadata: options.Metadata = None,
    priority: of_schedules.Priority = None,
    timeout_seconds: of_schedules.Timeout = None,
    backoff_limit: of_schedules.Retries = None,
    concurrency_policy: of_schedules.Concurrency = None,
    catch_up: of_schedules.CatchUp = None,
    catch_up_window: of_schedules.CatchUpWindow = None,
    jitter: of_schedules.Jitter = None,
    max_runs: of_schedules.MaxRuns = None,
    max_staleness_seconds: of_schedules.MaxStaleness = None,
    paused: Annotated[bool, typer.Option("--paused", help="It makes no runs until it is resumed.")] = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{duplicate, schedule}")] = False,
) -> None:
    """Create a schedule: give one of --cron, --every and --at.

    A TIME is a date, which means midnight in the timezone, or as 2027-03-27T09:30:00+02:00; a DURATION is as
    30s, 10m, 24h or 7d. The same again is no error; the exit status is 2 where the id is taken by another
    schedule.
    """
    typed = typed_options(context)
    screen = Screen()
    with connect(address, project, screen) as client:
        spec = read_options(typed, MomentReader(client, lambda: timezone or ""))
        answer = client.schedules.create(schedule_id, target, paused=paused, **spec)
    if as_json:
        screen.json(answer.to_dict())
        return
    done = "was there before, just so;" if answer.duplicate else "created,"
    screen.line((schedule_id, "bold"), (done, ""), (next_text(answer.schedule), "dim"))


def update(
    context: typer.Context,
    schedule_id: options.ScheduleId,
    target: Annotated[str | None, typer.Option("--target", help="task:<id> or workflow:<id>.")] = None,
    cron: of_schedules.Cron = None,
    timezone: of_schedules.Timezone = None,
    every: of_schedules.Every = None,
    at: of_schedules.At = None,
    anchor: of_schedules.Anchor = None,
    start_at: of_schedules.StartAt = None,
    end_at: of_schedules.EndAt = None,
    description: of_schedules.Description = None,
    run_name: of_schedules.RunName = None,
    input: of_schedules.Input = None,
    config: of_schedules.Config = None,
    metadata: options.Metadata = None,
    priority: of_schedules.Priority = None,
    timeout_seconds: of_schedules.Timeout = None,
    backoff_limit: of_schedules.Retries = None,
    concurrency_policy: of_schedules.Concurrency = None,
    catch_up: of_schedules.CatchUp = None,
    catch_up_window: of_schedules.CatchUpWindow = None,
    jitter: of_schedules.Jitter = None,
    max_runs: of_schedules.MaxRuns = None,
    max_staleness_seconds: of_schedules.MaxStaleness = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="OPTION", help="Take this away, such as end-at; several times for more."),
    ] = None,
    etag: Annotated[
        str, typer.Option("--etag", help="Refuse if it was changed since it had this etag.", show_default=False)
    ] = "",
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("the schedule")] = False,
) -> None:
    """Change a schedule: just what is given, the rest stays.

    --every takes the place of --cron, and so on. What is due next is found anew from now on; runs that it has
    made are not touched. The exit status is 2 where it was changed by somebody else at the same time, or is
    declared in the project.
    """
    typed = {"target": target, **typed_options(context)}
    taken_away = [_known(name, typed) for name in unset or ()]
    if not taken_away and all(value is None for value in typed.values()):
        raise typer.BadParameter("nothing to change; say what, such as --cron '30 2 * * *'", param_hint="SCHEDULE")
    screen = Screen()
    with connect(address, project, screen) as client:
        if _WAYS.intersection(taken_away) and all(typed[way] is None for way in _WAYS):
            _check_stays_due(client.schedules.get(schedule_id).spec, taken_away)
        moments = MomentReader(client, lambda: timezone or client.schedules.get(schedule_id).spec.timezone)
        changes = {**dict.fromkeys(taken_away), **read_options(typed, moments)}
        schedule = client.schedules.update(schedule_id, etag=etag, **changes)  # type: ignore[arg-type]
    if as_json:
        screen.json(schedule.to_dict())
    else:
        screen.line((schedule_id, "bold"), ("updated,", ""), (next_text(schedule), "dim"))


def _check_stays_due(spec: ScheduleSpec, taken_away: Sequence[str]) -> None:
    way = "cron" if spec.cron else "at" if spec.at else "every"
    if way in taken_away:
        raise typer.BadParameter(
            f"without --{way} nothing says when it is due; give --cron, --every or --at, which takes its place",
            param_hint=f"--unset {way}",
        )


def _known(option: str, typed: Mapping[str, object]) -> str:
    """The library's name of an option to be unset."""
    names = {option_of(name): name for name in typed if name != "target"}
    bare = option.removeprefix("--")
    if bare not in names:
        raise typer.BadParameter(f"{option!r} is not one of {', '.join(names)}", param_hint="--unset")
    return names[bare]
