"""The client that the commands use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.terminal import Screen
from runsd_client.errors import RunsError, UnreachableError
from runsd_client.retrying import OnRetry, RetryPolicy

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient

# About 3 s in all: the daemon may have been started a moment ago, and a person waits for the answer.
_POLICY = RetryPolicy(retries=4, initial_seconds=0.22, max_seconds=5.0)
_WORTH_A_NOTE_SECONDS = 0.6
# Longer than any delay before the first answer: a connection was lost, and that belongs in a log too.
_LOST_SECONDS = 2.5


def connect(address: str | None, project: str | None, screen: Screen) -> RunsClient:
    from runsd_client.sync_client import RunsClient

    return RunsClient(address, project=project, retry=_POLICY, on_retry=teller(screen))


def teller(screen: Screen) -> OnRetry:
    """Says on `screen` what is waited for."""
    noted_from = _WORTH_A_NOTE_SECONDS if screen.err.isatty() else _LOST_SECONDS

    def tell(error: RunsError, delay: float) -> None:
        if delay >= noted_from:
            what = f"no daemon at {error.address}" if isinstance(error, UnreachableError) else error.message
            screen.note(f"{what}; next try in {delay:.0f} s")

    return tell


@contextmanager
def run_goes_on(run_id: str, screen: Screen) -> Iterator[None]:
    """Ctrl-C leaves the run alone, and says so."""
    try:
        yield
    except KeyboardInterrupt:
        screen.note(
            f"run {run_id} goes on; follow it with `runs events {run_id} --follow`, end it with `runs cancel {run_id}`"
        )
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
