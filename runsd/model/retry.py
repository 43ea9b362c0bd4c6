"""Whether and when a failed attempt is followed by another."""

from __future__ import annotations

import json

from runsd.model.events import encode
from runsd.model.run import ErrorCode, Run, RunError
from runsd.model.settings import Backoff, RetrySettings
from runsd.model.targets import OnInterrupt

# What fails again the same way however often it is tried.
_FINAL = frozenset(
    {
        ErrorCode.OUTPUT_LIMIT,
        ErrorCode.OUTPUT_INVALID,
        ErrorCode.TARGET_NOT_FOUND,
        ErrorCode.EXPIRED,
        ErrorCode.NONDETERMINISTIC,
        ErrorCode.REJECTED,
    }
)


# A run whose attempts keep ending with the daemon may be what ends it.
MAX_INTERRUPTIONS = 10


def may_retry(run: Run, error: RunError) -> bool:
    """`run.attempt` is the one that failed: 1 is the first, which is no retry. Interrupted ones do not count."""
    failures = run.attempt - run.interruptions
    return failures <= run.backoff_limit and error.code not in _FINAL


def may_go_on(run: Run, policy: OnInterrupt) -> bool:
    """Whether an interrupted run is executed again. `run` counts this interruption already."""
    return policy is OnInterrupt.RETRY and run.fruitless_interruptions <= MAX_INTERRUPTIONS


def delays_json(delays: RetrySettings) -> str:
    """As a run keeps delays of its own."""
    return encode(
        {
            "backoff": delays.backoff.value,
            "initial_delay_seconds": delays.initial_delay_seconds,
            "max_delay_seconds": delays.max_delay_seconds,
        }
    )


def own_delays(run: Run) -> RetrySettings | None:
    """None: those of its target, or of the daemon."""
    if not run.retry_json:
        return None
    told = json.loads(run.retry_json)
    return RetrySettings(**told | {"backoff": Backoff(told["backoff"])})


def delay_seconds(attempt: int, settings: RetrySettings, chance: float) -> float:
    """Backoff with jitter; `attempt` is the one that failed, `chance` is uniform in 0 to 1."""
    delay = min(settings.initial_delay_seconds * _growth(attempt, settings), settings.max_delay_seconds)
    return delay * (1 + settings.jitter * (2 * chance - 1))


def _growth(attempt: int, settings: RetrySettings) -> float:
    if settings.backoff is Backoff.FIXED:
        return 1.0
    if settings.backoff is Backoff.LINEAR:
        return float(attempt)
    return settings.multiplier ** min(attempt - 1, 64)
