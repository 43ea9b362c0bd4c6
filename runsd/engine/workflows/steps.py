"""What each kind of step does when the record has no end of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from runsd.engine.workflows.calls import CallFailed, call_step, native
from runsd.engine.workflows.children import ChildRefused, ChildStep, error_of
from runsd.engine.workflows.delays import delays_of
from runsd.engine.workflows.place import Place
from runsd.engine.workflows.session import Session, failure
from runsd.engine.workflows.waits import Wait
from runsd.model.events import Draft, EventType, Raw, compact, encode
from runsd.model.retry import delay_seconds
from runsd.model.run import ErrorCode, RunError
from runsd.model.steps import StepKind, StepState
from runsd.model.times import after, rfc3339
from runsd.sdk.documents import dumps
from runsd.sdk.step_options import ApprovalRequest, Retry, StepOptions
from runsd.sdk.step_outcomes import Approval
from runsd.store.clock import steady_now


async def execute_function(session: Session, place: Place, call: Callable[[], Any], options: StepOptions) -> Any:
    """Calls it until it succeeds or may not be tried again."""
    recorded, recorder = place.recorded, session.recorder
    attempt, failures = (recorded.attempt, recorded.failures) if recorded else (0, 0)
    if recorded is not None and recorded.until is not None:
        await session.waits.wait(Wait((StepKind.SLEEP, place.step_id), recorded.until))
    while True:
        attempt += 1
        await _begin_attempt(session, place, attempt)
        try:
            output_json = await call_step(call, options.timeout_seconds, session.limits.payload_bytes)
        except CallFailed as failed:
            failures += 1
            retry_at = _retry_at(options.retry, failures)
            recorder.failed(place, failed.error, retry_at=retry_at)
            if retry_at is None:
                raise failure(place.step_id, place.kind, failed.error) from failed.__cause__
            await session.waits.wait(Wait((StepKind.SLEEP, place.step_id), retry_at))
            continue
        recorder.completed(place, output=Raw(output_json))
        return native(output_json)


async def _begin_attempt(session: Session, place: Place, attempt: int) -> None:
    if not session.takes_more():
        raise asyncio.CancelledError
    await session.recorder.durable()
    place.begin(attempt)
    session.recorder.started(place)
    if session.run.fruitless_interruptions:
        # It may be what ends the daemon each time: then it shall be seen to.
        await session.recorder.durable()


def _retry_at(retry: Retry, failures: int) -> int | None:
    if failures >= retry.max_attempts:
        return None
    return after(steady_now(), delay_seconds(failures, delays_of(retry), random.random()))


async def execute_run(
    session: Session, place: Place, target: str, documents: Mapping[str, Any], options: StepOptions
) -> Any:
    """Executes a target as a run below this one; one that was begun before is gone on with."""
    recorded, children = place.recorded, session.children
    if recorded is not None and recorded.state is StepState.WAITING:
        child_id = recorded.child_run_id
    else:
        await session.recorder.durable()
        place.begin(recorded.attempt + 1 if recorded else 1)
        try:
            child_id = children.begin(ChildStep(place.step_id, place.name, place.attempt, target), documents, options)
        except ChildRefused as refused:
            _fail(session, place, refused.error)
    try:
        run = await children.end_of(child_id)
    except BaseException:
        if not session.is_letting_go:
            children.cancel(child_id)
        raise
    error = error_of(run)
    if error is not None:
        _fail(session, place, error)
    output_json = await children.output_json(child_id)
    session.recorder.completed(place, child_run_id=child_id, output=Raw(output_json))
    return native(output_json)


def _fail(session: Session, place: Place, error: RunError) -> None:
    session.recorder.failed(place, error)
    raise failure(place.step_id, place.kind, error)


async def execute_sleep(session: Session, place: Place, duration_seconds: float) -> None:
    until = _begin_wait(session, place, duration_seconds)
    await session.waits.wait(Wait((StepKind.SLEEP, place.step_id), until))
    session.recorder.completed(place)


def _begin_wait(
    session: Session, place: Place, limit_seconds: float | None, detail: str = "", more: Draft | None = None
) -> int | None:
    """When the wait is over, as it is recorded already, or as it is recorded now. None: never."""
    recorded = place.recorded
    if recorded is not None and recorded.state is StepState.WAITING:
        return recorded.until
    until = None if limit_seconds is None else after(steady_now(), limit_seconds)
    place.begin(recorded.attempt + 1 if recorded else 1)
    session.recorder.started(place, until=until, detail=detail)
    return until


async def execute_signal(session: Session, place: Place, name: str, timeout_seconds: float | None) -> Any:
    until = _begin_wait(session, place, timeout_seconds, name if name != place.name else "")
    while (signal := session.take_signal(name)) is None:
        if until is not None and steady_now() >= until:
            _time_out(session, place, f"no signal {name!r} came in time")
        await session.waits.wait(Wait((StepKind.SIGNAL, name), until))
    session.recorder.completed(place, output=Raw(signal.payload_json), signal_event_id=signal.event_id)
    return native(signal.payload_json)


async def execute_approval(
    session: Session, place: Place, request: ApprovalRequest, timeout_seconds: float | None
) -> Approval:
    is_asked = place.recorded is not None and place.recorded.state is StepState.WAITING
    until = _begin_wait(session, place, timeout_seconds, request.message)
    if not is_asked:
        session.recorder.add(_asked(place, request, until))
    while (decision := session.history.decisions.get(place.step_id)) is None:
        if until is not None and steady_now() >= until:
            _time_out(session, place, f"nobody decided approval {place.name!r} in time")
        await session.waits.wait(Wait((StepKind.APPROVAL, place.step_id), until))
    answer = {key: decision[key] for key in ("name", "approved", "by", "comment", "data") if key in decision}
    if not decision["approved"]:
        approval = Approval(**answer)
        message = _rejection(approval)
        _fail(session, place, RunError(message, ErrorCode.REJECTED, compact(answer)))
    session.recorder.completed(place, output=answer)
    return Approval(**answer)


def _rejection(approval: Approval) -> str:
    by = f" by {approval.by}" if approval.by else ""
    comment = f": {approval.comment}" if approval.comment else ""
    return f"approval {approval.name!r} was rejected{by}{comment}"


def _asked(place: Place, request: ApprovalRequest, until: int | None) -> Draft:
    payload: dict[str, Any] = {"step_id": place.step_id, "name": place.name}
    optional = {
        "message": request.message,
        "approvers": list(request.approvers),
        "schema": None if request.schema is None else Raw(dumps(dict(request.schema))),
        "expires_at": None if until is None else rfc3339(until),
    }
    return Draft(EventType.APPROVAL_REQUESTED, encode(payload | {k: v for k, v in optional.items() if v}))


def _time_out(session: Session, place: Place, message: str) -> None:
    _fail(session, place, RunError(message, ErrorCode.TIMEOUT))
