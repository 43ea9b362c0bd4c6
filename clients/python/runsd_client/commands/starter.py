"""`runs init` and `runs demo`: a project to start from, and a daemon that shows what it does."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from runsd_client.commands.programs import show_steps
from runsd_client.commands.terminal import Screen

_NEXT = (
    ("runsd serve --project {directory}", "in another terminal"),
    ("runs start task:sync-data --config '{{\"batchSize\": 100}}' --follow", "a CSV file into SQLite"),
    ("runs start task:knowledge-ingest --follow", "an index of docs/"),
    ("runs list", "what became of them"),
)


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where; it is made if missing.", show_default="this directory")
    ] = Path(),
) -> None:
    """Write a small project to start from.

    It has a runs.toml, tasks and workflows that work as they stand. Nothing is overwritten.
    """
    from runsd_client.starter.creation import create_project

    project_id = create_project(directory)
    screen = Screen()
    screen.line(
        ("project", ""), (project_id, "bold"), (f"in {directory}; start reading at {directory / 'runs.toml'}", "")
    )
    screen.line(("next:", ""))
    quoted = shlex.quote(str(directory))
    show_steps(screen, [(command.format(directory=quoted), meaning) for command, meaning in _NEXT])


def demo() -> None:
    """See it work: a daemon of its own, tasks, an index to ask, and a workflow that outlives a kill.

    Everything is in a temporary directory, which is gone afterwards. Takes some seconds.
    """
    from runsd_client.demo.show import show_all

    raise typer.Exit(show_all(Screen()))
