"""The protocol between the engine and whatever executes attempts.

An adapter starts an attempt, or adopts one that a former daemon started. The *execution* then gives
the attempt's output in order, batch by batch, and at last its outcome. Each batch carries the
offsets to commit with it, so that after a crash an adopting daemon goes on behind the last byte that
is in the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from runsd.adapters.directory import AttemptDirectory
from runsd.model.attempt import Offsets, Outcome
from runsd.model.events import Draft
from runsd.model.record import Documents
from runsd.model.run import Run
from runsd.model.settings import Limits
from runsd.model.targets import Definition


class Output(NamedTuple):
    """Events in order, and how far into the attempt's files they reach, if they come from files.

    `skipped_bytes` were read and made no event; they count as output all the same.
    """

    drafts: Sequence[Draft] = ()
    offsets: Offsets | None = None
    skipped_bytes: int = 0


class AttemptSpec(NamedTuple):
    run: Run
    documents: Documents
    definition: Definition
    project_directory: Path
    directory: AttemptDirectory
    address: str
    limits: Limits
    # How many events the run has; one that just began for the first time has two.
    last_event_id: int = 0
    # How long ago the attempt began.
    age_seconds: float = 0.0


class Ended(NamedTuple):
    """The outcome, and the last of the output, to be committed with it."""

    outcome: Outcome
    rest: Output = Output()


class StartFailed(Exception):
    """The attempt could not be started; the message is for the run's owner."""


class NoRoom(StartFailed):
    """It could not be started just now: the machine is short of something. Later it may."""


class Execution(Protocol):
    # How long the attempt had been executing when this daemon took it up, by a clock that nobody sets.
    age_seconds: float

    def output(self) -> AsyncGenerator[Output, None] | None:
        """Output as it comes; ends when the attempt has ended. None: it records what it has by itself."""
        ...

    async def ended(self) -> Ended:
        """To be called after `output` has ended, or instead of it when nothing more is wanted."""
        ...

    async def stop(self, grace_seconds: float) -> bool:
        """Asks the attempt to end; when it has not after the grace period, ends it, which is then True."""
        ...

    async def close(self) -> None:
        """Lets go of the attempt. What outlives the daemon is not disturbed by it."""
        ...


class Adapter(Protocol):
    async def start(self, spec: AttemptSpec) -> Execution:
        """Raises StartFailed."""
        ...

    async def adopt(self, spec: AttemptSpec, offsets: Offsets) -> Execution:
        """Goes on with an attempt that a former daemon started, whatever became of it meanwhile."""
        ...
