"""The client that the commands use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.terminal import Screen
from runsd_client.errors import RunsError, UnreachableError
from runsd_client.retrying import RetryPolicy

if TYPE_CHECKING:
    from runsd_client.sync_client import RunsClient

# A person waits for the answer; a daemon that is not there should not take long to say so.
_POLICY = RetryPolicy(retries=2, initial_seconds=0.25, max_seconds=5.0)
_WORTH_A_NOTE_SECONDS = 0.75


def connect(address: str | None, project: str | None, screen: Screen) -> RunsClient:
    from runsd_client.sync_client import RunsClient

    def tell(error: RunsError, delay: float) -> None:
        if delay >= _WORTH_A_NOTE_SECONDS:
            what = f"no daemon at {error.address}" if isinstance(error, UnreachableError) else error.message
            screen.note(f"{what}; next try in {delay:.0f} s")

    return RunsClient(address, project=project, retry=_POLICY, on_retry=tell)


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
