"""Each run of a task held against what it was asked to do and what it noted itself doing.

Of a workflow only its attempts; `flow_judging` has its steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.torture.disk import Disk, DiskAttempt, DiskRun, Ledger, LedgerAttempt
from tests.torture.plan import COROUTINE_ONCE, FLOW, PROCESS
from tests.torture.work import STDERR, STDOUT, output, status_of, ticks

# As the daemon has it: this many interruptions are followed by another attempt.
MAX_INTERRUPTIONS = 10


class Judge:
    """`bytes_compared` counts those of stdout and stderr that were expected and found."""

    def __init__(self, disk: Disk, ledger: Ledger) -> None:
        self._disk = disk
        self._ledger = ledger
        self.bytes_compared = 0
        self.attempts: Counter[str] = Counter()

    def faults(self, run: DiskRun) -> Iterator[str]:
        attempts = self._disk.attempts(run.run_id)
        if run.target == FLOW:
            self.attempts.update(f"workflow {attempt.ending.removeprefix('run.')}" for attempt in attempts)
        if [attempt.number for attempt in attempts] != list(range(1, run.attempt + 1)):
            yield f"its attempts are {[attempt.number for attempt in attempts]}, the last is {run.attempt}"
        if run.target == FLOW:
            return
        yield from self._overlaps(run)
        for attempt in attempts:
            noted = self._ledger.attempts.get((run.run_id, attempt.number), LedgerAttempt())
            kind = "process" if run.target == PROCESS else "in-process"
            self.attempts[f"{kind} {attempt.ending.removeprefix('run.')}"] += 1
            judge = self._process_faults if run.target == PROCESS else self._inprocess_faults
            yield from (f"attempt {attempt.number}: {fault}" for fault in judge(run, attempt, noted))
        yield from _ending_faults(run, attempts)

    def _overlaps(self, run: DiskRun) -> Iterator[str]:
        begins = self._ledger.begins.get(run.run_id, [])
        numbers = [number for number, _ in begins]
        if sorted(set(numbers)) != numbers:
            yield f"attempts began in the order {numbers}"
        if run.target == PROCESS:
            yield from (
                f"attempt {number} began before the one before had ended" for number, well in begins if not well
            )

    def _process_faults(self, run: DiskRun, attempt: DiskAttempt, noted: LedgerAttempt) -> Iterator[str]:
        if attempt.ending == "run.cancelled":
            yield from self._cancelled_process_faults(run, attempt, noted)
            return
        if not noted.begun:
            if attempt.ending != "run.interrupted":
                yield f"ended as {attempt.ending} and never began"
            if any(attempt.output.values()) or attempt.ticks:
                yield "has output and never began"
            return
        if not noted.ended:
            yield f"ended as {attempt.ending} and was not at its end"
        yield from self._output_faults(run, attempt, None)
        status = status_of(run.input, attempt.number)
        if attempt.exit_code != status:
            yield f"ended as {attempt.ending}, status {attempt.exit_code}, where it exited with {status}"
        if (attempt.ending == "run.completed") != (status == 0):
            yield f"exited with {status} and is {attempt.ending}"

    def _cancelled_process_faults(self, run: DiskRun, attempt: DiskAttempt, noted: LedgerAttempt) -> Iterator[str]:
        if noted.stopped or noted.ended:
            yield from self._output_faults(run, attempt, noted.writes if noted.stopped else None)
            return
        for descriptor, data in attempt.output.items():
            self.bytes_compared += len(data)
            if not output(run.input, attempt.number, descriptor).startswith(data):
                yield f"descriptor {descriptor} is not a beginning of what it writes"
        if attempt.ticks != ticks(run.input)[: len(attempt.ticks)]:
            yield "its events are not the first ones"

    def _output_faults(self, run: DiskRun, attempt: DiskAttempt, writes: int | None) -> Iterator[str]:
        for descriptor in (STDOUT, STDERR):
            expected = output(run.input, attempt.number, descriptor, writes)
            found = attempt.output[descriptor]
            self.bytes_compared += len(expected)
            if found != expected:
                yield f"descriptor {descriptor}: {_difference(expected, found)}"
        if attempt.ticks != ticks(run.input, writes):
            yield f"its events are {attempt.ticks}, not {ticks(run.input, writes)}"

    def _inprocess_faults(self, run: DiskRun, attempt: DiskAttempt, noted: LedgerAttempt) -> Iterator[str]:
        all_ticks = ticks(run.input)
        if attempt.ticks != all_ticks[: len(attempt.ticks)]:
            yield f"its events {attempt.ticks} are not the first of {all_ticks}"
        if attempt.ending in ("run.cancelled", "run.interrupted"):
            return
        if not noted.ended:
            yield f"ended as {attempt.ending} and was not at its end"
        if attempt.ticks != all_ticks:
            yield f"ended as {attempt.ending} with the events {attempt.ticks} of {all_ticks}"
        fails = status_of(run.input, attempt.number) != 0
        if (attempt.ending == "run.completed") == fails:
            yield f"was to {'fail' if fails else 'complete'} and is {attempt.ending}"
        if attempt.ending == "run.completed" and run.output != {"lines": run.input["lines"]}:
            yield f"its output is {run.output}"


def _difference(expected: bytes, found: bytes) -> str:
    at = next(
        (n for n, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), min(map(len, (expected, found)))
    )
    where = slice(max(at - 20, 0), at + 40)
    return f"{len(found)} bytes for {len(expected)}, differing at {at}: {found[where]!r} for {expected[where]!r}"


def _ending_faults(run: DiskRun, attempts: list[DiskAttempt]) -> Iterator[str]:
    """Whether the run ended when it should, and not before."""
    interruptions = sum(attempt.ending == "run.interrupted" for attempt in attempts)
    failures = sum(attempt.ending in ("run.retrying", "run.failed") for attempt in attempts)
    if run.status not in ("completed", "failed", "cancelled"):
        yield f"it is {run.status} at the end"
    if failures > run.backoff_limit + 1:
        yield f"it failed {failures} times with a backoff limit of {run.backoff_limit}"
    if run.status != "failed":
        return
    if run.error_code == "interrupted":
        allowed = 0 if run.target == COROUTINE_ONCE else MAX_INTERRUPTIONS
        if interruptions != allowed + 1:
            yield f"it was given up after {interruptions} interruptions"
    elif failures != run.backoff_limit + 1:
        yield f"it was given up after {failures} failures with a backoff limit of {run.backoff_limit}"
