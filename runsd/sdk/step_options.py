"""What a workflow's code says of a step: how often, how soon and how long; and of an approval, who may decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from runsd.sdk.arguments import approvers_given, text_given
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.durations import seconds

Duration = str | float | timedelta
Backoff = Literal["fixed", "linear", "exponential"]
MAX_RETRIES = 1000
BACKOFFS = ("fixed", "linear", "exponential")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a step is tried again. `max_attempts` counts the first one."""

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    initial_delay: Duration = 1.0
    max_delay: Duration = 300.0

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_RETRIES + 1:
            raise ValueError(f"max_attempts must be 1 to {MAX_RETRIES + 1}, not {self.max_attempts!r}")
        if self.backoff not in BACKOFFS:
            raise ValueError(f"backoff must be one of {', '.join(BACKOFFS)}, not {self.backoff!r}")
        initial, longest = seconds(self.initial_delay), seconds(self.max_delay)
        if longest < initial:
            delays = f"max_delay ({longest:.15g} s) is less than initial_delay ({initial:.15g} s)"
            raise ValueError(f"{delays}; raise max_delay")

    @classmethod
    def of(cls, retry: Retry | int | None) -> Retry:
        """A number is how many retries may follow the first attempt."""
        if isinstance(retry, Retry):
            return retry
        if retry is None:
            return _ONCE
        if isinstance(retry, bool) or not isinstance(retry, int):
            raise ValueError(f"retry must be a number of retries or a Retry, not {retry!r}")
        if not 0 <= retry <= MAX_RETRIES:
            raise ValueError(f"retry must be 0 to {MAX_RETRIES:,}, not {retry!r}")
        return cls(max_attempts=retry + 1)


_ONCE = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class StepOptions:
    """`retries` is the number that was given, `has_delays` whether a `Retry` was: a target has its own of both."""

    retry: Retry
    timeout_seconds: float | None
    retries: int | None = None
    has_delays: bool = False

    @classmethod
    def of(cls, retry: Retry | int | None, timeout: Duration | None) -> StepOptions:
        chosen = Retry.of(retry)
        retries = None if retry is None else chosen.max_attempts - 1
        return cls(chosen, None if timeout is None else seconds(timeout), retries, isinstance(retry, Retry))


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    message: str = ""
    approvers: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, message: object, approvers: object, schema: object) -> ApprovalRequest:
        """Raises ValueError naming the argument."""
        text = text_given("message", message)
        if schema is not None and not isinstance(schema, Mapping):
            raise ValueError(f"schema must be a JSON Schema as a dict, not {schema!r}")
        try:
            dumps(None if schema is None else dict(schema))
        except NotJson as error:
            raise ValueError(f"schema is not JSON: {error}") from None
        return cls(text, approvers_given(approvers), schema)
