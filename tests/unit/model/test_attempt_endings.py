"""What an attempt's outcome makes of its run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.attempt import Outcome, after_interruption, ending, exit_error
from runsd.model.events import EventType
from runsd.model.retry import delay_seconds
from runsd.model.run import ErrorCode, Run, RunError, RunStatus, advance
from runsd.model.settings import RetrySettings
from runsd.model.targets import OnInterrupt, RunKind
from runsd.model.times import from_rfc3339, rfc3339

RUN = Run("r", "p", RunKind.TASK, "task:t", RunStatus.RUNNING, 0, 0, "r", attempt=1)
RETRY = RetrySettings(initial_delay_seconds=1, multiplier=2, max_delay_seconds=10, jitter=0.5)


def failed(code: str, **facts: Any) -> Outcome:
    return Outcome(exit_code=1, error=RunError("m", code), **facts)


@pytest.mark.parametrize(
    ("run", "outcome", "event_type"),
    [
        (RUN, Outcome(0), EventType.COMPLETED),
        (RUN, failed("exit_code"), EventType.FAILED),
        (RUN._replace(backoff_limit=1), failed("exit_code"), EventType.RETRYING),
        (RUN._replace(backoff_limit=1, attempt=2), failed("exit_code"), EventType.FAILED),
        (RUN._replace(backoff_limit=1), failed("timeout"), EventType.RETRYING),
        (RUN._replace(backoff_limit=1, attempt=3, interruptions=2), failed("exit_code"), EventType.RETRYING),
        (RUN._replace(backoff_limit=1, attempt=3, interruptions=1), failed("exit_code"), EventType.FAILED),
        (RUN._replace(backoff_limit=9), failed(ErrorCode.OUTPUT_LIMIT), EventType.FAILED),
        (RUN._replace(backoff_limit=9), failed(ErrorCode.OUTPUT_INVALID), EventType.FAILED),
        (RUN._replace(backoff_limit=9), failed("exception", may_retry=False), EventType.FAILED),
        (RUN._replace(cancel_requested=True), Outcome(0), EventType.CANCELLED),
        (RUN._replace(cancel_requested=True, backoff_limit=9), failed("signal"), EventType.CANCELLED),
    ],
)
def test_endings(run: Run, outcome: Outcome, event_type: EventType) -> None:
    end = ending(run, outcome, RETRY, now=5_000_000, chance=0.5)
    assert end.event_type is event_type
    assert end.payload.get("exit_code") == outcome.exit_code
    if event_type is EventType.RETRYING:
        assert from_rfc3339(end.payload["start_after"]) == 6_000_000


INTERRUPTED = Outcome(error=RunError("gone", "interrupted"), interrupted=True)


def test_interruption_is_no_failure_of_the_work() -> None:
    """It does not count against `backoff_limit`, and what is interrupted again waits longer."""
    first = ending(RUN, INTERRUPTED, RETRY, now=0, chance=0.5)
    assert first.event_type is EventType.INTERRUPTED
    assert "start_after" not in first.payload
    again = ending(
        RUN._replace(attempt=3, interruptions=2, fruitless_interruptions=2), INTERRUPTED, RETRY, now=0, chance=0.5
    )
    assert from_rfc3339(again.payload["start_after"]) == 2_000_000


def test_interruption_after_progress_is_followed_at_once() -> None:
    run = RUN._replace(attempt=9, interruptions=8, fruitless_interruptions=5)
    end = ending(run, INTERRUPTED._replace(progressed=True), RETRY, now=0, chance=0.5)
    assert end.payload["progressed"] is True and "start_after" not in end.payload
    after = advance(run, end.event_type, end.payload, 0)
    assert (after.interruptions, after.fruitless_interruptions) == (9, 0)


@pytest.mark.parametrize(
    ("policy", "interruptions", "goes_on"),
    [
        (OnInterrupt.RETRY, 1, True),
        (OnInterrupt.RETRY, 10, True),
        (OnInterrupt.RETRY, 11, False),
        (OnInterrupt.FAIL, 1, False),
    ],
)
def test_interrupted_run_goes_on_or_fails_by_policy(policy: OnInterrupt, interruptions: int, goes_on: bool) -> None:
    run = RUN._replace(status=RunStatus.PENDING, attempt=interruptions, fruitless_interruptions=interruptions)
    further = after_interruption(run, INTERRUPTED, policy)
    if goes_on:
        assert further is None
    else:
        assert further is not None and further.event_type is EventType.FAILED
        assert further.payload["error"]["code"] == "interrupted"


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_backoff_grows_to_its_maximum(attempt: int, chance: float) -> None:
    delay = delay_seconds(attempt, RETRY, chance)
    plain = min(2.0 ** min(attempt - 1, 60), 10)
    assert plain * 0.5 <= delay <= plain * 1.5


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_come_back_from_their_text(moment: int) -> None:
    assert from_rfc3339(rfc3339(moment)) == moment


def test_status_of_a_process() -> None:
    assert exit_error(0, "") is None
    told = exit_error(127, "")
    assert told is not None and "not found" in told.message
    signalled = exit_error(137, "SIGKILL")
    assert signalled is not None and signalled.code == "signal"
