"""Attempts as callables in the daemon: `async def` on the event loop, `def` in a thread of its own.

They end with the daemon. A thread cannot be ended from outside: one that does not look at
`ctx.cancelled` is left behind after the grace period, and the run ends without it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

import structlog

from runsd.adapters.base import AttemptSpec, Ended, Output
from runsd.adapters.containment import Containment, contain_tasks, in_thread
from runsd.model.attempt import Offsets, Outcome
from runsd.model.events import Draft, read_json
from runsd.model.run import ErrorCode, RunError
from runsd.model.targets import PythonCallable
from runsd.model.times import rfc3339
from runsd.sdk.context import Context
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.failure import describe

logger = structlog.get_logger()

# Output that waits for the journal: past this a thread waits, and a coroutine is told to.
PENDING_BYTES = 4 << 20
PENDING_EVENTS = 20_000
# One commit takes at most this many, so that others need not wait for it.
BATCH_EVENTS = 1000
CLOSE_SECONDS = 0.5
Function = Callable[[Context], Any]
Load = Callable[[AttemptSpec, PythonCallable], Function]


class InprocessAdapter:
    """`load` gives the callable behind a definition; it raises StartFailed."""

    def __init__(self, load: Load) -> None:
        self._load = load
        contain_tasks(asyncio.get_running_loop())

    async def start(self, spec: AttemptSpec) -> InprocessExecution:
        assert isinstance(spec.definition.program, PythonCallable)
        return InprocessExecution(spec, self._load(spec, spec.definition.program))

    async def adopt(self, spec: AttemptSpec, offsets: Offsets) -> GoneExecution:
        return GoneExecution()


class GoneExecution:
    """What is left of an attempt that ended with a former daemon."""

    age_seconds = 0.0

    def output(self) -> None:
        """What it had is on disk, or gone."""

    async def ended(self) -> Ended:
        error = RunError("the daemon ended while the attempt was executing in it", ErrorCode.INTERRUPTED)
        return Ended(Outcome(error=error, interrupted=True))

    async def stop(self, grace_seconds: float) -> bool:
        return False

    async def close(self) -> None: ...


class OutputBuffer:
    """Events on their way from the callable to the journal, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._lock = threading.Condition()
        self._drafts: list[Draft] = []
        self._size = 0
        self._closed = False
        self.filled = asyncio.Event()
        self._taken = asyncio.Event()

    def write(self, event_type: str, payload_json: str) -> None:
        """Raises BufferError on the event loop, which must not wait, when there is no room."""
        on_loop = threading.get_ident() == self._loop_thread
        with self._lock:
            if self._is_full() and on_loop:
                raise BufferError("too many events at once; `await ctx.drain()` between them")
            while self._is_full() and not self._closed:
                self._lock.wait()
            if self._closed:
                return
            self._drafts.append(Draft(event_type, payload_json))
            self._size += len(payload_json)
            is_first = len(self._drafts) == 1
        if on_loop:
            self.filled.set()
        elif is_first:
            self._loop.call_soon_threadsafe(self.filled.set)

    def _is_full(self) -> bool:
        return self._size > PENDING_BYTES or len(self._drafts) >= PENDING_EVENTS

    def take(self) -> Output:
        with self._lock:
            drafts = self._drafts[:BATCH_EVENTS]
            del self._drafts[:BATCH_EVENTS]
            self._size = sum(len(draft.payload_json) for draft in self._drafts)
            if not self._drafts:
                self.filled.clear()
            self._lock.notify_all()
        self._taken.set()
        self._taken = asyncio.Event()
        return Output(drafts)

    @property
    def holds_more_than_a_batch(self) -> bool:
        return len(self._drafts) > BATCH_EVENTS

    def close(self) -> None:
        """Nobody takes any more; what is written from now on is dropped."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    async def drain(self) -> None:
        while self._drafts:
            await self._taken.wait()


class InprocessExecution:
    age_seconds = 0.0

    def __init__(self, spec: AttemptSpec, function: Function) -> None:
        self._run_id = spec.run.run_id
        self._buffer = OutputBuffer()
        self._context = _context(spec, self._buffer)
        self._is_coroutine = _is_coroutine_function(function)
        self._was_left_behind = False
        begin = _on_loop if self._is_coroutine else _in_thread
        self._work: asyncio.Future[Outcome] = begin(function, self._context)
        self._over = asyncio.Event()
        self._work.add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        self._over.set()
        self._buffer.filled.set()

    async def output(self) -> AsyncGenerator[Output, None]:
        while not self._over.is_set():
            await self._buffer.filled.wait()
            if not self._over.is_set():
                yield self._buffer.take()
        while self._buffer.holds_more_than_a_batch:
            yield self._buffer.take()

    async def ended(self) -> Ended:
        await self._over.wait()
        self._buffer.close()
        return Ended(self._outcome(), self._buffer.take())

    async def stop(self, grace_seconds: float) -> bool:
        self._context.mark_cancelled()
        if self._is_coroutine:
            self._work.cancel()
        await asyncio.wait([self._work], timeout=grace_seconds)
        if not self._work.done():
            logger.error("callable ignores cancellation and is left behind", run_id=self._run_id)
            self._was_left_behind = True
            self._end()
        return self._was_left_behind

    async def close(self) -> None:
        self._buffer.close()
        self._context.mark_cancelled()
        if self._is_coroutine and not self._was_left_behind:
            self._work.cancel()
            await asyncio.wait([self._work], timeout=CLOSE_SECONDS)

    def _outcome(self) -> Outcome:
        if self._was_left_behind:
            error = RunError("the callable ignores cancellation and was left behind", ErrorCode.EXCEPTION)
            return Outcome(error=error, may_retry=False)
        if self._work.cancelled():
            return Outcome(error=RunError("the callable was cancelled from inside", ErrorCode.EXCEPTION))
        return self._work.result()


def _context(spec: AttemptSpec, buffer: OutputBuffer) -> Context:
    run, documents, directory = spec.run, spec.documents, spec.directory
    return Context(
        run_id=run.run_id,
        project=run.project,
        target=run.target,
        attempt=run.attempt,
        input=read_json(documents.input_json or "null"),
        config=read_json(documents.config_json or "null"),
        state_dir=directory.state,
        artifacts_dir=directory.artifacts,
        address=spec.address,
        scheduled_for="" if run.scheduled_for is None else rfc3339(run.scheduled_for),
        write=buffer.write,
        event_bytes=spec.limits.event_bytes,
        drain=buffer.drain,
    )


def _is_coroutine_function(function: Function) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))


def _on_loop(function: Function, context: Context) -> asyncio.Future[Outcome]:
    name = f"run {context.run_id}"

    async def work() -> Outcome:
        containment = Containment(name)
        containment.enter()
        try:
            return _returned(await function(context))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the outermost edge of user code
            return _raised(error)
        finally:
            containment.end(context.run_id)

    return asyncio.create_task(work(), name=name)


def _in_thread(function: Function, context: Context) -> asyncio.Future[Outcome]:
    def work() -> Outcome:
        try:
            result = function(context)
            # A decorated `async def` does not look like one.
            return _returned(asyncio.run(_awaited(result)) if hasattr(result, "__await__") else result)
        except BaseException as error:  # noqa: BLE001 - the outermost edge of user code
            return _raised(error)

    return in_thread(work, f"run {context.run_id}")


def _returned(result: object) -> Outcome:
    return Outcome(output_json="" if result is None else dumps(result))


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _raised(error: BaseException) -> Outcome:
    if isinstance(error, NotJson):
        message = f"the task returned a value that is not JSON: {error}"
        return Outcome(error=RunError(message, ErrorCode.OUTPUT_INVALID))
    try:
        told = describe(error)
        return Outcome(error=RunError(told["message"], told["code"], dumps(told["detail"])))
    except BaseException:  # noqa: BLE001 - an exception's own text is user code too
        return Outcome(error=RunError(f"{type(error).__name__}, which cannot be shown", ErrorCode.EXCEPTION))
