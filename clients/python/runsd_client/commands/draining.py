"""`runs drain`: let what executes end, and start nothing more."""

from __future__ import annotations

import math
import time
from typing import Annotated

import typer

from runsd_client.commands import options
from runsd_client.commands.connection import connect
from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.terminal import Screen

CALL_SECONDS = 10.0


def drain(
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Give up waiting after that.", min=0.001)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Start runs again.")] = False,
    address: options.Address = None,
    as_json: Annotated[bool, options.as_json("{executing}")] = False,
) -> None:
    """Start no more runs, and wait until none executes.

    Runs that are created meanwhile wait. It holds until `runs drain --resume`, or until the daemon is
    started anew. The exit status is 1 when runs execute still after --timeout.
    """
    screen = Screen()
    ends_at = math.inf if timeout is None else time.monotonic() + timeout
    with connect(address, None, screen) as client:
        if resume:
            client.resume()
            return
        while executing := client.drain(max(min(CALL_SECONDS, ends_at - time.monotonic()), 0.001)):
            if time.monotonic() >= ends_at:
                break
            screen.note(f"{executing} still executing")
    if as_json:
        screen.json({"executing": executing})
    else:
        screen.line(("drained: no run executes" if not executing else f"{executing} runs execute still", ""))
    if executing:
        raise typer.Exit(ExitStatus.FAILED)
