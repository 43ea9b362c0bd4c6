"""`runs events`, `runs logs` and `runs watch`: what runs do and write."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect, run_goes_on
from runsd_client.commands.event_display import EventDisplay, show_watched
from runsd_client.commands.formats import show_ending
from runsd_client.commands.start import follow_events
from runsd_client.commands.terminal import Screen, write_output
from runsd_client.values import Event, Page

FollowStream = Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")]


def events(
    run_id: options.RunId,
    follow: FollowStream = False,
    after: Annotated[
        int,
        typer.Option("--after", metavar="EVENT", help="Only events after this one, by number.", show_default=False),
    ] = 0,
    limit: Annotated[
        int,
        typer.Option("--limit", help="How many, 1 to 1000; else 100. Not with --follow.", show_default=False),
    ] = 0,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data, page_info}; with --follow an event a line")] = False,
) -> None:
    """Show a run's events, each with its number.

    With --follow they are shown as they come, and how the run ended at last.
    """
    if follow and limit:
        raise typer.BadParameter("--limit does not go with --follow", param_hint="--limit")
    screen = Screen()
    with connect(address, project, screen) as client:
        if follow:
            with run_goes_on(run_id, screen):
                run = follow_events(client, run_id, screen, as_json, after)
            if not as_json:
                show_ending(screen, run)
            return
        page = client.events(run_id, after_event_id=after, limit=limit)
    _show_page(screen, page, run_id, as_json)


def _show_page(screen: Screen, page: Page[Event], run_id: str, as_json: bool) -> None:
    if as_json:
        screen.json(page.to_dict())
        return
    with EventDisplay(screen, bar=False) as display:
        for event in page.data:
            display.show(event)
    if page.data and page.page_info.next:
        screen.note(f"there may be more: runs events {run_id} --after {page.data[-1].event_id}")


def logs(
    run_id: options.RunId,
    follow: FollowStream = False,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("an event a line")] = False,
) -> None:
    """Write what a run wrote.

    Its stdout goes to stdout, all else to stderr; in a pipe or a file byte for byte.
    """
    screen = Screen()
    with connect(address, project, screen) as client, run_goes_on(run_id, screen):
        for event in client.follow(run_id) if follow else client.replay(run_id):
            if event.event_type != "log" or not isinstance(event.payload, Mapping):
                continue
            if as_json:
                screen.json(event.to_dict(), in_stream=True)
            else:
                is_stdout = event.payload.get("stream") == "stdout"
                write_output(screen.out if is_stdout else screen.err, log_bytes(event.payload))


def log_bytes(payload: Mapping[str, Any]) -> bytes:
    """The bytes of a log chunk; `base64` is there where they were not UTF-8."""
    if isinstance(encoded := payload.get("base64"), str):
        try:
            return base64.b64decode(encoded, validate=True)
        except binascii.Error:
            pass
    return str(payload.get("text", "")).encode("utf-8", "backslashreplace")


def watch(
    after: Annotated[
        int | None,
        typer.Option("--after", metavar="POSITION", help="From after this position; 0 is the beginning."),
    ] = None,
    event_type: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type, or run.* for all that begin so; several times for more."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Only this target; several times for more.")
    ] = None,
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{position, run_id, target, event, schedule_id} a line")] = False,
) -> None:
    """Show the events of all runs and schedules as they come.

    Each has its position first, for --after. It goes on until Ctrl-C.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        watched = client.watch(after_position=after, event_types=event_type or (), targets=target or ())
        for event in watched:
            if as_json:
                screen.json(event.to_dict(), in_stream=True)
            else:
                show_watched(screen, event)
