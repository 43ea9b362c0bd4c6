"""`runs targets` and `runs reload`: what there is to run."""

from __future__ import annotations

from typing import Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.formats import show_targets
from runsd_client.commands.terminal import Screen
from runsd_client.values import ReloadAnswer

# Where the problems of schedules are.
_OF_SCHEDULES = ("schedules.", "@schedule(")


def targets(
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data, problems}")] = False,
) -> None:
    """List what can be run, and what is broken."""
    screen = Screen()
    with connect(address, project, screen) as client:
        found = client.definitions()
    if as_json:
        screen.json(found.to_dict())
        return
    show_targets(screen, found.data)
    for target in found.data:
        for problem in target.problems:
            screen.error(f"{target.target}: {problem}")
    for problem in found.problems:
        is_of_schedule = problem.key.startswith(_OF_SCHEDULES)
        screen.error(str(problem) if is_of_schedule else f"not all targets are known: {problem}")


def reload(
    address: options.Address = None,
    project: options.Project = None,
    as_json: Annotated[bool, options.as_json("{data, problems}")] = False,
) -> None:
    """Read the definitions anew.

    Runs that execute are not disturbed. Where some are broken the exit status is 2, and what is good
    is taken up all the same.
    """
    screen = Screen()
    with connect(address, project, screen) as client:
        answer = client.reload()
    if as_json:
        screen.json(answer.to_dict())
    else:
        screen.text(_summary(answer) + "\n")
        for problem in answer.problems:
            screen.error(str(problem))
    if answer.problems:
        raise typer.Exit(ExitStatus.REFUSED)


def _summary(answer: ReloadAnswer) -> str:
    count, broken = len(answer.data), sum(bool(target.problems) for target in answer.data)
    counted = f"{count} target{'' if count == 1 else 's'}"
    return f"{counted}, {broken} of them broken" if broken else counted
