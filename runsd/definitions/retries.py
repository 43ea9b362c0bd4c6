"""Durations and retries as definitions write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from runsd.definitions.origin import Wrong
from runsd.model.pipelines import RetryPolicy
from runsd.model.settings import Backoff
from runsd.model.tables import Range
from runsd.sdk.durations import MAX_SECONDS, seconds

MAX_RETRIES = 1000


class _Text:
    @staticmethod
    def parse(text: str) -> float:
        return seconds(text)


Seconds = Annotated[float, Range(0, MAX_SECONDS)]
# Written as a text such as "10m" or as a number of seconds; decoding makes a number of either.
if TYPE_CHECKING:
    Duration = float
else:
    Duration = _Text | Seconds


@dataclass(frozen=True, slots=True)
class RetryTable:
    max_attempts: Annotated[int, Range(1, MAX_RETRIES + 1)] = 3
    backoff: Backoff = Backoff.EXPONENTIAL
    initial_delay: Duration = 1.0
    max_delay: Duration = 300.0


Retries = RetryTable | Annotated[int, Range(0, MAX_RETRIES)]


def retry_policy(retry: RetryTable | int | None) -> RetryPolicy | None:
    """A number is how many attempts may follow the first. Raises Wrong."""
    if retry is None:
        return None
    if isinstance(retry, int):
        return RetryPolicy(max_attempts=retry + 1, has_delays=False)
    initial, longest = retry.initial_delay, retry.max_delay
    if longest < initial:
        delays = f"max_delay ({longest:.15g} s) is less than initial_delay ({initial:.15g} s)"
        raise Wrong("retry", f"{delays}; raise max_delay")
    return RetryPolicy(retry.max_attempts, retry.backoff, initial, longest)
