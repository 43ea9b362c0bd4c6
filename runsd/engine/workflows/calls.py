"""Calls a step's function, and says how it went as a record does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from runsd.adapters.containment import in_thread
from runsd.model.events import read_json
from runsd.model.run import ErrorCode, RunError
from runsd.sdk.documents import NotJson, detail_json, dumps
from runsd.sdk.failure import describe, printable
from runsd.sdk.step_outcomes import StepFailed

# True while a step's function executes: it can begin no steps of its own.
inside_step: ContextVar[bool] = ContextVar("inside_step", default=False)


class CallFailed(Exception):
    """Of a step's function, in the words of the record."""

    def __init__(self, error: RunError) -> None:
        super().__init__(error.message)
        self.error = error


class _TimeOver(Exception):
    """Not a TimeoutError, which the function may raise itself."""


async def _within(seconds: float | None, result: Awaitable[Any]) -> Any:
    if seconds is None:
        return await result
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await result
    except TimeoutError:
        if deadline.expired():
            raise _TimeOver(f"did not end within {seconds:.15g} s") from None
        raise


async def call_step(call: Callable[[], Any], timeout_seconds: float | None, limit: int) -> str:
    """The result as JSON text of at most `limit` characters, empty for None. Raises CallFailed."""
    token = inside_step.set(True)
    try:
        result = await _within(timeout_seconds, call() if getattr(call, "is_coroutine", False) else _in_thread(call))
        text = "" if result is None else dumps(result)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
            raise
        if isinstance(error, _TimeOver):
            raise CallFailed(RunError(str(error), ErrorCode.TIMEOUT)) from None
        raise CallFailed(error_of_exception(error)) from error
    finally:
        inside_step.reset(token)
    if len(text) > limit:
        message = f"the result has {len(text):,} characters as JSON, at most {limit:,} are allowed"
        raise CallFailed(RunError(message, ErrorCode.OUTPUT_INVALID))
    return text


def _is_being_cancelled() -> bool:
    """Else a CancelledError is the function's own, such as of a task that it cancelled, and an error like any other."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _in_thread(call: Callable[[], Any]) -> Any:
    def work() -> tuple[Any, BaseException | None]:
        try:
            result = call()
            # A decorated `async def` does not look like one.
            return (asyncio.run(_awaited(result)) if hasattr(result, "__await__") else result), None
        except BaseException as error:  # noqa: BLE001 - the outermost edge of user code
            return None, error

    result, error = await in_thread(work, "step")
    if error is not None:
        raise error
    return result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def error_of_exception(error: BaseException) -> RunError:
    error = _only_failure(error)
    if isinstance(error, NotJson):
        return RunError(f"the result is not JSON: {error}", ErrorCode.OUTPUT_INVALID)
    try:
        if isinstance(error, StepFailed):
            # It may be one of the workflow's own making, with anything in it.
            message = printable(f"step {error.step_id!r}: {error.message}")
            return RunError(message, printable(f"{error.code}"), detail_json(error.detail))
        told = describe(error)
        return RunError(told["message"], told["code"], dumps(told["detail"]))
    except BaseException:  # noqa: BLE001 - an exception's own text is user code too
        return RunError(f"{type(error).__name__}, which cannot be shown", ErrorCode.EXCEPTION)


def _only_failure(error: BaseException) -> BaseException:
    """A TaskGroup wraps the failure of its one step that failed: it is that step's all the same."""
    inner = error
    while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
        inner = inner.exceptions[0]
    return inner if isinstance(inner, StepFailed) else error


def failed_step_of(error: BaseException | None) -> str:
    """The step whose failure led to the error; empty when none did."""
    if isinstance(error, StepFailed):
        step_id = getattr(error, "step_id", "")
        return step_id if isinstance(step_id, str) else ""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(failed_step_of, error.exceptions)), "")
    if error is None:
        return ""
    return failed_step_of(error.__cause__ or (None if error.__suppress_context__ else error.__context__))


def native(output_json: str) -> Any:
    return read_json(output_json) if output_json else None
