"""When a failed call is made again, and after how long. Pure: who calls also sleeps."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from runsd_client.errors import RunsError

OnRetry = Callable[[RunsError, float], None]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Tries after the first, with delays that double from `initial_seconds` to `max_seconds`.

    A stream or a wait that has once been connected is not held to `retries`: it goes on until
    `reconnect_for_seconds` have been waited in vain, by default for ever.
    """

    retries: int = 3
    initial_seconds: float = 1.0
    max_seconds: float = 10.0
    reconnect_for_seconds: float = math.inf

    def delay_seconds(self, failures: int) -> float:
        """Up to a fifth shorter, so that the clients of a restarted daemon do not come all at once."""
        longest = min(self.max_seconds, self.initial_seconds * 2.0 ** min(failures - 1, 60))
        return longest * random.uniform(0.8, 1.0)


NO_RETRIES = RetryPolicy(retries=0)


class Tries:
    """The tries of one call or stream."""

    def __init__(self, policy: RetryPolicy, on_retry: OnRetry | None = None) -> None:
        self._policy = policy
        self._on_retry = on_retry
        self._failures = 0
        self._waited_seconds = 0.0
        self._connected = False

    def succeeded(self) -> None:
        self._connected = True
        self._failures = 0
        self._waited_seconds = 0.0

    def after(self, error: RunsError) -> float:
        """Seconds until the next try; raises `error` when there is none."""
        self._failures += 1
        if not error.transient or self._is_over():
            raise error
        delay = self._policy.delay_seconds(self._failures)
        self._waited_seconds += delay
        if self._on_retry is not None:
            self._on_retry(error, delay)
        return delay

    def _is_over(self) -> bool:
        if self._connected:
            return self._waited_seconds >= self._policy.reconnect_for_seconds
        return self._failures > self._policy.retries
