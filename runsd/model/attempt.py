"""An attempt: how far its output is in the log, how it ended, and what that makes of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from runsd.model.events import EventType, Payload, Raw
from runsd.model.retry import delay_seconds, may_go_on, may_retry
from runsd.model.run import ErrorCode, Run, RunError, RunStatus, error_payload
from runsd.model.settings import RetrySettings
from runsd.model.targets import OnInterrupt
from runsd.model.times import after, rfc3339


@dataclass(frozen=True, slots=True)
class Offsets:
    """Bytes of an attempt's files that are in the log."""

    stdout: int = 0
    stderr: int = 0
    events: int = 0

    @property
    def total(self) -> int:
        return self.stdout + self.stderr + self.events


class StopReason(Enum):
    """Why the daemon ended an attempt before it was done."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output_limit"


class Outcome(NamedTuple):
    """What the adapter saw. `error` is None when the work was done; texts are empty when unset."""

    exit_code: int | None = None
    error: RunError | None = None
    output_json: str = ""
    interrupted: bool = False
    may_retry: bool = True
    # An interruption that came before anything was executed: whatever the policy, nothing was done twice.
    never_began: bool = False
    # The run waits, and the attempt goes on later: that is on disk already.
    is_waiting: bool = False
    # An interruption after something had been got done.
    progressed: bool = False
    # A cancellation that came while it ended changes nothing any more.
    is_past_cancelling: bool = False
    # It counted on a further attempt, and has not undone its steps.
    is_not_undone: bool = False
    # There never was a run below it, which would have to end with it.
    is_childless: bool = False
    # The step whose failure ended a workflow.
    failed_step_id: str = ""


class Ending(NamedTuple):
    """A lifecycle event that ends an attempt."""

    event_type: EventType
    payload: Payload
    output_json: str = ""


def stopped_error(reason: StopReason, run: Run, output_limit: int) -> RunError:
    if reason is StopReason.TIMEOUT:
        return RunError(f"the attempt did not end within {run.timeout_seconds:.15g} s", ErrorCode.TIMEOUT)
    return RunError(f"the run wrote more than {output_limit:,} bytes of output", ErrorCode.OUTPUT_LIMIT)


def ending(run: Run, outcome: Outcome, retry: RetrySettings, now: int, chance: float) -> Ending:
    """The event that ends an attempt. `chance` (0 to 1) spreads the retries."""
    if run.cancel_requested and outcome.is_not_undone and not outcome.interrupted:
        # The cancellation came in between: a further attempt undoes them.
        assert outcome.error is not None
        return Ending(EventType.RETRYING, {"attempt": run.attempt, "error": error_payload(outcome.error)})
    if run.cancel_requested and not (outcome.is_past_cancelling or outcome.is_not_undone):
        return Ending(EventType.CANCELLED, _with_exit_code({"attempt": run.attempt}, outcome))
    if outcome.error is None:
        output = {"output": Raw(outcome.output_json)} if outcome.output_json else {}
        return Ending(EventType.COMPLETED, _with_exit_code(output, outcome), outcome.output_json)
    payload: dict[str, Any] = {"attempt": run.attempt, "error": error_payload(outcome.error)}
    if outcome.failed_step_id:
        payload["step_id"] = outcome.failed_step_id
    if outcome.interrupted:
        if outcome.progressed:
            return Ending(EventType.INTERRUPTED, payload | {"progressed": True})
        return Ending(EventType.INTERRUPTED, payload | _delay(run.fruitless_interruptions, retry, now, chance))
    if outcome.may_retry and may_retry(run, outcome.error):
        failures = run.attempt - run.interruptions
        payload |= _delay(failures, retry, now, chance)
        return Ending(EventType.RETRYING, _with_exit_code(payload, outcome))
    return Ending(EventType.FAILED, _with_exit_code(payload, outcome))


def after_interruption(run: Run, outcome: Outcome, policy: OnInterrupt) -> Ending | None:
    """What follows an interruption: nothing, which is another attempt, or the run's failure."""
    if run.status is not RunStatus.PENDING or not outcome.interrupted:
        return None
    # What is being cancelled has to be undone first, whatever the policy.
    if outcome.never_began or may_go_on(run, OnInterrupt.RETRY if run.cancel_requested else policy):
        return None
    assert outcome.error is not None
    return Ending(EventType.FAILED, {"attempt": run.attempt, "error": error_payload(outcome.error)})


def _delay(attempts_before: int, retry: RetrySettings, now: int, chance: float) -> dict[str, Any]:
    """The first interruption is followed at once; what comes again and again takes longer each time."""
    if attempts_before == 0:
        return {}
    delay = delay_seconds(attempts_before, retry, chance)
    return {"start_after": rfc3339(after(now, delay)), "delay_seconds": round(delay, 3)}


def _with_exit_code(payload: Mapping[str, Any], outcome: Outcome) -> Payload:
    return payload if outcome.exit_code is None else {**payload, "exit_code": outcome.exit_code}


_HINTS = {
    126: ", as a shell does when a command cannot be executed",
    127: ", as a shell does when a command is not found",
}


def exit_error(status: int, signal_name: str) -> RunError | None:
    """A process's own end, by the status a shell gives: 128+n after signal n."""
    if status == 0:
        return None
    if signal_name:
        return RunError(f"the process was ended by signal {signal_name}", ErrorCode.SIGNAL)
    return RunError(f"the process exited with status {status}{_HINTS.get(status, '')}", ErrorCode.EXIT_CODE)
