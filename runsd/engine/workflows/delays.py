"""The delays that a workflow's code asks for between attempts, as settings."""

from __future__ import annotations

from runsd.model.settings import Backoff, RetrySettings
from runsd.sdk.durations import seconds
from runsd.sdk.step_options import Retry


def delays_of(retry: Retry) -> RetrySettings:
    return RetrySettings(
        backoff=Backoff(retry.backoff),
        initial_delay_seconds=seconds(retry.initial_delay),
        max_delay_seconds=seconds(retry.max_delay),
    )
