"""Waiting for a run in calls of limited length, so that a dead connection is noticed."""

from __future__ import annotations

import math
import time

from runsd_client.errors import WaitTimeoutError
from runsd_client.values import Run

LONGEST_CALL_SECONDS = 30.0
# 0 would be "without limit" to the daemon.
SHORTEST_CALL_SECONDS = 0.001


class Waiting:
    """Until the run is terminal, or `timeout` seconds (None: without limit) are over.

    The first call is short, to know that there is a daemon, unless it `is_there` for certain.
    """

    def __init__(self, run_id: str, timeout: float | None, *, is_there: bool) -> None:
        self._run_id = run_id
        self._timeout = math.inf if timeout is None else timeout
        self._ends_at = time.monotonic() + self._timeout
        self._latest: Run | None = None
        self._asked = False
        self._is_there = is_there

    def next_seconds(self) -> float:
        """How long to wait in the next call. Raises WaitTimeoutError when the time is over; asks at least once."""
        remaining = self._ends_at - time.monotonic()
        if self._asked and remaining <= 0:
            raise WaitTimeoutError(self._run_id, self._timeout, self._latest)
        longest = LONGEST_CALL_SECONDS if self._is_there else SHORTEST_CALL_SECONDS
        self._asked = self._is_there = True
        return max(SHORTEST_CALL_SECONDS, min(remaining, longest))

    def is_over(self, run: Run) -> bool:
        self._latest = run
        return run.status.is_terminal

    def within_the_time(self, delay_seconds: float) -> float:
        return max(0.0, min(delay_seconds, self._ends_at - time.monotonic()))
