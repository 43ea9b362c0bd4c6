"""Supervises one attempt: from the claim that is on disk to the event that ends it.

Output goes into the journal as it comes, each batch in one transaction with the offsets it reaches.
The outcome, the artifacts and the last of the output are committed together.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial

import anyio.to_thread
import structlog

from runsd.adapters import artifacts
from runsd.adapters.base import AttemptSpec, Ended, Execution, NoRoom, Output, StartFailed
from runsd.crashpoints import CrashPoint, passing
from runsd.definitions.schemas import violations
from runsd.engine.ending import end_run
from runsd.model.attempt import Ending, Outcome, StopReason, after_interruption, ending, stopped_error
from runsd.model.errors import Stopping
from runsd.model.events import TERMINAL_TYPES, Draft, EventType, Stream, decode, encode, log
from runsd.model.record import Artifact
from runsd.model.run import ErrorCode, Run, RunError
from runsd.model.settings import RetrySettings
from runsd.model.targets import RunKind
from runsd.store.journal import Journal
from runsd.store.transaction import StoredRun, Transaction

logger = structlog.get_logger()


# Starts the attempt, or adopts it. Raises StartFailed.
Begin = Callable[[AttemptSpec], Awaitable[Execution]]
# What else belongs into the transaction that ends an attempt.
BeforeEnd = Callable[[Transaction, StoredRun, Ending], StoredRun]


class Attempt:
    def __init__(
        self,
        spec: AttemptSpec,
        journal: Journal,
        retry: RetrySettings,
        grace_seconds: float,
        before_end: BeforeEnd,
        output_bytes: int = 0,
    ) -> None:
        """`output_bytes`: what an adopted attempt has written already."""
        self.spec = spec
        self._journal = journal
        self._retry = retry
        self._grace_seconds = grace_seconds
        self._before_end = before_end
        self._stop_reason: StopReason | None = None
        self._execution: Execution | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._output_bytes = output_bytes
        self._is_past_limit = False
        self._last_words: Sequence[Draft] = ()
        self._was_ended_by_force = False

    def request_stop(self, reason: StopReason) -> None:
        """The first reason counts."""
        if self._stop_reason is None:
            self._stop_reason = reason
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._stop_reason is not None and self._execution is not None:
            self._stopping = asyncio.create_task(self._stop(self._execution))

    async def _stop(self, execution: Execution) -> None:
        self._was_ended_by_force = await execution.stop(self._grace_seconds)

    async def execute(self, begin: Begin) -> Run:
        """Returns the run as the attempt left it: terminal, or pending for the next, or waiting."""
        ended = await self._ended(begin)
        # Of a run that waits everything is on disk, and it may be executing again by now.
        return self.spec.run if ended.outcome.is_waiting else await self._finish(ended)

    async def fail(self, error: Exception) -> Run:
        """Ends the run for a defect of the daemon: better told than left hanging."""
        outcome = Outcome(error=RunError(f"runsd failed: {error!r}", ErrorCode.INTERNAL), may_retry=False)
        return await self._journal.insist(lambda t: self._conclude(t, Output(), [], outcome))

    async def _ended(self, begin: Begin) -> Ended:
        try:
            execution = await begin(self.spec)
        except NoRoom as error:
            return Ended(Outcome(error=RunError(str(error), ErrorCode.INTERRUPTED), interrupted=True))
        except StartFailed as error:
            return Ended(Outcome(error=RunError(str(error), ErrorCode.START_FAILED)))
        try:
            return await self._supervised(execution)
        except (Stopping, asyncio.CancelledError):
            raise
        except Exception:
            # A defect of ours: what cannot be supervised must not go on beside another attempt.
            await execution.stop(0)
            raise
        finally:
            await execution.close()

    async def _supervised(self, execution: Execution) -> Ended:
        limit = self.spec.run.timeout_seconds
        timer = _after(limit - execution.age_seconds, self.request_stop, StopReason.TIMEOUT) if limit else None
        self._execution = execution
        self._stop_if_asked()
        try:
            await self._record_output(execution)
            ended = await execution.ended()
            if self._stopping is not None:
                # A stop that has begun goes on to what the process left behind.
                await self._stopping
            return ended
        finally:
            self._execution = None
            if timer is not None:
                timer.cancel()
            await self._give_up_stopping()

    async def _give_up_stopping(self) -> None:
        if self._stopping is not None and not self._stopping.done():
            self._stopping.cancel()
            with suppress(asyncio.CancelledError):
                await self._stopping

    async def _record_output(self, execution: Execution) -> None:
        output = execution.output()
        if output is None:
            return
        async with aclosing(output) as batches:
            async for batch in batches:
                kept = self._within_limit(batch)
                if self._is_past_limit:
                    # Committed with the outcome: by itself, without an offset, a crash would have it read again.
                    self._last_words = kept.drafts
                    return
                if kept.drafts or kept.skipped_bytes:
                    passing(CrashPoint.OUTPUT_READ)
                    await self._journal.insist(partial(self._append, output=kept))
                    passing(CrashPoint.OUTPUT_COMMITTED)

    def _within_limit(self, output: Output) -> Output:
        """The part of the output that the run may still write; past it the attempt is stopped.

        Of files their bytes count, so that a daemon which takes the attempt up counts on as this one would.
        """
        before, limit = self._output_bytes, self.spec.limits.output_bytes
        if output.offsets is not None:
            self._output_bytes = output.offsets.total
        else:
            self._output_bytes += sum(len(draft.payload_json) for draft in output.drafts)
        if self._output_bytes <= limit:
            return output
        self._pass_limit()
        return Output(_begin_of(output.drafts, limit - before))

    def _pass_limit(self) -> None:
        """Nothing more is read, also when the attempt is being stopped for another reason already."""
        self._is_past_limit = True
        self.request_stop(StopReason.OUTPUT_LIMIT)

    def _append(self, transaction: Transaction, output: Output) -> None:
        stored = transaction.get(self.spec.run.run_id)
        if output.drafts:
            stored = transaction.emit(stored, output.drafts)
        if output.offsets is not None:
            transaction.set_offsets(stored, output.offsets)

    async def _finish(self, ended: Ended) -> Run:
        passing(CrashPoint.PROCESS_ENDED)
        collected = await self._collect_artifacts()
        passing(CrashPoint.ARTIFACTS_COLLECTED)
        # A workflow counts what it emits itself, and its steps are no output.
        rest = ended.rest if self.spec.run.kind is RunKind.WORKFLOW else self._within_limit(ended.rest)
        notes = [log(Stream.SYSTEM, f"{line}\n") for line in collected.passed_over]
        if self._was_ended_by_force:
            grace = f"{self._grace_seconds:.15g} s"
            notes.append(log(Stream.SYSTEM, f"did not end within {grace} of being asked to, and was ended by force\n"))
        rest = rest._replace(drafts=[*self._last_words, *rest.drafts, *notes])
        outcome = self._judged(ended.outcome)
        run = await self._journal.insist(lambda t: self._conclude(t, rest, collected.artifacts, outcome))
        self._log(run)
        return run

    def _log(self, run: Run) -> None:
        facts = {"target": run.target, "attempt": self.spec.run.attempt, "status": run.status.value}
        if run.error is None:
            # The record has it, and there may be a thousand a second.
            logger.debug("attempt ended", run_id=run.run_id, **facts)
        else:
            facts |= {"code": run.error.code, "error": run.error.message}
            logger.info("attempt ended", run_id=run.run_id, **facts)

    async def _collect_artifacts(self) -> artifacts.Collected:
        if self.spec.run.kind is RunKind.WORKFLOW or artifacts.is_empty(self.spec.directory.artifacts):
            return artifacts.Collected([], [])
        return await anyio.to_thread.run_sync(
            artifacts.collect, self.spec.directory.artifacts, self.spec.run.attempt, abandon_on_cancel=True
        )

    def _judged(self, outcome: Outcome) -> Outcome:
        """The outcome in the light of what the daemon did and what the definition demands."""
        if self._stop_reason in (StopReason.TIMEOUT, StopReason.OUTPUT_LIMIT):
            error = stopped_error(self._stop_reason, self.spec.run, self.spec.limits.output_bytes)
            return outcome._replace(error=error, interrupted=False)
        schema, limit = self.spec.definition.output_schema, self.spec.limits.payload_bytes
        if outcome.error is None and len(outcome.output_json) > limit:
            message = f"the output has {len(outcome.output_json):,} characters, at most {limit:,} are allowed"
            return outcome._replace(output_json="", error=RunError(message, ErrorCode.OUTPUT_INVALID))
        if outcome.error is not None or schema is None:
            return outcome
        value = json.loads(outcome.output_json or "null")
        faults = violations(schema, value, "output")
        if not faults:
            return outcome
        message = "; ".join(f"{fault.field}: {fault.description}" for fault in faults)
        return outcome._replace(error=RunError(message, ErrorCode.OUTPUT_INVALID))

    def _conclude(self, transaction: Transaction, rest: Output, found: list[Artifact], outcome: Outcome) -> Run:
        self._append(transaction, rest._replace(drafts=[*rest.drafts, *map(_artifact_draft, found)]))
        stored = transaction.get(self.spec.run.run_id)
        for artifact in found:
            transaction.add_artifact(stored, artifact)
        end: Ending = ending(stored.run, outcome, self._retry, transaction.steady_now, random.random())
        if end.output_json:
            transaction.set_output(stored, end.output_json)
        stored = self._end(transaction, stored, end, outcome.is_childless)
        passing(CrashPoint.OUTCOME_STAGED)
        further = after_interruption(stored.run, outcome, self.spec.definition.on_interrupt)
        if further is not None:
            stored = self._end(transaction, stored, further, outcome.is_childless)
        return stored.run

    def _end(self, transaction: Transaction, stored: StoredRun, end: Ending, is_childless: bool) -> StoredRun:
        stored = self._before_end(transaction, stored, end)
        if end.event_type in TERMINAL_TYPES:
            return end_run(transaction, stored, end.event_type, end.payload, is_childless=is_childless)
        return transaction.record(stored, end.event_type, end.payload)


def _after(seconds: float, call: Callable[[StopReason], None], reason: StopReason) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(max(seconds, 0), call, reason)


def _begin_of(drafts: Sequence[Draft], room: int) -> list[Draft]:
    """As much as `room` bytes hold; of a piece of output its beginning, other events whole or not at all."""
    kept: list[Draft] = []
    for draft in drafts:
        payload = decode(draft.payload_json)
        is_output = draft.event_type == EventType.LOG
        size = len(payload["text"].encode()) if is_output else len(draft.payload_json)
        if size > room:
            begin = payload["text"].encode()[: max(room, 0)].decode(errors="ignore") if is_output else ""
            return [*kept, log(Stream(payload["stream"]), begin)] if begin else kept
        kept.append(draft)
        room -= size
    return kept


def _artifact_draft(artifact: Artifact) -> Draft:
    payload = {
        "name": artifact.name,
        "size_bytes": artifact.size_bytes,
        "sha256": artifact.sha256,
        "media_type": artifact.media_type,
        "attempt": artifact.attempt,
    }
    return Draft(EventType.ARTIFACT, encode(payload))
