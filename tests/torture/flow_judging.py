"""Each workflow held against its input, its log, and what its steps noted themselves doing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.disk import Disk, DiskEvent, DiskRun
from tests.torture.flows import LATE, told_by
from tests.torture.judging import MAX_INTERRUPTIONS

UNDO = "~on_failure/undo"
_TERMINAL = ("run.completed", "run.failed", "run.cancelled")


@dataclass(slots=True)
class _Record:
    """What a run's log says. Times are those of events."""

    completed: dict[str, int] = field(default_factory=dict)
    copied: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    failures: Counter[str] = field(default_factory=Counter)
    children: dict[str, str] = field(default_factory=dict)
    interruptions: list[bool] = field(default_factory=list)
    decided: dict[str, Any] = field(default_factory=dict)
    signal: str = ""
    faults: list[str] = field(default_factory=list)

    def take(self, event: DiskEvent) -> None:
        payload = json.loads(event.payload_json)
        if event.event_type.startswith("step."):
            self._take_step(event, payload["step_id"], payload)
        elif event.event_type == "run.interrupted":
            self.interruptions.append(payload.get("progressed", False))
        elif event.event_type == "approval.decided":
            self.decided = payload
        elif event.event_type == "signal":
            self.signal = payload["payload"]

    def _take_step(self, event: DiskEvent, step_id: str, payload: dict[str, Any]) -> None:
        if step_id in self.completed:
            self.faults.append(f"step {step_id} was completed, and {event.event_type} follows")
        if "from_run_id" in payload:
            self.copied.add(step_id)
        elif payload["kind"] == "function":
            self.functions.add(step_id)
        if event.event_type == "step.completed":
            self.completed[step_id] = event.created_at
        elif event.event_type == "step.failed":
            self.failures[step_id] += 1
        elif event.event_type == "step.started" and "child_run_id" in payload:
            self.children[payload["child_run_id"]] = step_id

    @property
    def fruitless(self) -> int:
        """Interruptions at the end after which nothing had been got done."""
        after = self.interruptions[::-1]
        return after.index(True) if True in after else len(after)


def read_steps(file: Path) -> dict[tuple[str, str], list[int]]:
    """When each step began, by run and step id."""
    begins: dict[tuple[str, str], list[int]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        run_id, step_id, what, at = line.split()
        if what == "begin":
            begins.setdefault((run_id, step_id), []).append(int(at))
    return begins


class FlowJudge:
    """`counts` is for the table."""

    def __init__(self, disk: Disk, begins: dict[tuple[str, str], list[int]]) -> None:
        self._disk = disk
        self._begins: dict[str, dict[str, list[int]]] = {}
        for (run_id, step_id), times in begins.items():
            self._begins.setdefault(run_id, {})[step_id] = times
        self.counts: Counter[str] = Counter()

    def faults(self, run: DiskRun) -> Iterator[str]:
        record = _Record()
        for event in self._disk.by_run[run.run_id]:
            record.take(event)
            self._count(event)
        yield from record.faults
        yield from self._step_faults(run, record)
        yield from self._child_faults(run, record)
        yield from _ending_faults(run, record)
        if run.status == "completed":
            yield from self._output_faults(run, record)

    def _count(self, event: DiskEvent) -> None:
        kind = event.event_type
        if kind.startswith("step."):
            self.counts["copied" if '"from_run_id"' in event.payload_json else kind.removeprefix("step.")] += 1
        elif kind == "run.resumed":
            self.counts["resumed"] += 1

    def _step_faults(self, run: DiskRun, record: _Record) -> Iterator[str]:
        """A step is done once, and once more for each attempt that failed or was interrupted."""
        begun = self._begins.get(run.run_id, {})
        for step_id, times in begun.items():
            self.counts["begun"] += len(times)
            self.counts["begun again"] += len(times) - 1
            completed_at = record.completed.get(step_id)
            if step_id in record.copied:
                yield f"step {step_id} was kept from another run, and executed"
            elif completed_at is not None and max(times) > completed_at:
                yield f"step {step_id} was executed {max(times) - completed_at} µs after it was completed"
            if len(times) > 1 + record.failures[step_id] + len(record.interruptions):
                yield f"step {step_id} was executed {len(times)} times"
        for step_id in record.functions & record.completed.keys() - begun.keys():
            yield f"step {step_id} was completed and never executed"

    def _child_faults(self, run: DiskRun, record: _Record) -> Iterator[str]:
        """Children are this run's, and have ended before it."""
        ended = self._ended_at(run.run_id)
        for child_id, step_id in record.children.items():
            child = self._disk.runs.get(child_id)
            if child is None or child.parent != run.run_id:
                yield f"its step {step_id} began {child_id}, which is {child}"
            elif self._ended_at(child_id) > ended:
                yield f"it was {run.status} before its child {child_id} was {child.status}"
        for child in self._disk.runs.values():
            if child.parent == run.run_id and child.run_id not in record.children:
                yield f"{child.run_id} is below it, and no step began it"

    def _ended_at(self, run_id: str) -> float:
        """Position of the terminal event."""
        last = self._disk.by_run[run_id][-1]
        return last.position if last.event_type in _TERMINAL else float("inf")

    def _output_faults(self, run: DiskRun, record: _Record) -> Iterator[str]:
        if record.decided:
            answer = record.decided["by"] if record.decided["approved"] else f"not {record.decided['by']}"
        else:
            answer = record.signal or (LATE if run.input["waits"] == "timeout" else None)
        told = {"told": told_by(run.input), "parts": run.output and run.output["parts"], "answer": answer}
        if run.output != told:
            yield f"its output is {run.output}, not {told}"
            return
        parts = {step_id: child for child, step_id in record.children.items() if step_id.startswith("part")}
        children = [child for _, child in sorted(parts.items())]
        completed = [self._disk.runs[child].status == "completed" for child in children]
        if run.output["parts"] != completed and not record.copied:
            yield f"of its parts are completed {run.output['parts']} by its word, {completed} on disk"


def _ending_faults(run: DiskRun, record: _Record) -> Iterator[str]:
    if run.status not in ("completed", "failed", "cancelled"):
        yield f"it is {run.status} at the end"
    if run.status == "completed" and run.input["broken"]:
        yield "it was to fail and is completed"
    if run.status == "failed" and run.error_code == "interrupted":
        if record.fruitless != MAX_INTERRUPTIONS + 1:
            yield f"it was given up after {record.fruitless} interruptions in a row that brought nothing"
    elif run.status == "failed" and not (run.input["broken"] and run.error_code == "exception"):
        yield f"it failed with {run.error_code}"
    is_undone = UNDO in record.completed
    has_begun = bool(record.functions - {UNDO})
    should_be = run.input["undo"] and run.status in ("failed", "cancelled") and run.error_code != "interrupted"
    if is_undone and not should_be:
        yield f"it is {run.status}, and was undone"
    if should_be and has_begun and not is_undone:
        yield f"it is {run.status}, and was not undone"
