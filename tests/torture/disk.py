"""What is on disk at the end, read by plain SQL: nothing of runsd stands between the checker and it."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.work import STDERR, STDOUT, TICK

ENDINGS = frozenset({"run.completed", "run.failed", "run.cancelled", "run.retrying", "run.interrupted"})
_DESCRIPTORS = {"stdout": STDOUT, "stderr": STDERR}


@dataclass(frozen=True, slots=True)
class DiskEvent:
    position: int
    run_id: str
    event_id: int
    event_type: str
    payload_json: str
    created_at: int


@dataclass(frozen=True, slots=True)
class DiskRun:
    run_id: str
    key: str
    target: str
    status: str
    attempt: int
    backoff_limit: int
    retry_of: str
    parent: str
    schedule_id: str
    scheduled_for: int | None
    trigger_kind: str
    created_at: int
    start_after: int | None
    error_code: str
    input: Any
    output: Any


@dataclass(frozen=True, slots=True)
class DiskSkip:
    """Occurrences of a schedule that made no run."""

    first_at: int
    last_at: int
    count: int
    reason: str

    @property
    def is_missed(self) -> bool:
        """Nobody looked at the clock when they came."""
        return self.reason.startswith("missed")

    def has(self, at: int) -> bool:
        return self.first_at <= at <= self.last_at

    def moments(self, step: int) -> range:
        return range(self.first_at, self.last_at + 1, step)


@dataclass(slots=True)
class DiskAttempt:
    """One attempt by its events. `ending` is the type of the event that ended it."""

    number: int
    output: dict[int, bytes] = field(default_factory=lambda: {STDOUT: b"", STDERR: b""})
    ticks: list[int] = field(default_factory=list)
    ending: str = ""
    error_code: str = ""
    exit_code: int | None = None


class Disk:
    def __init__(self, file: Path) -> None:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            self.runs = {run.run_id: run for run in _runs(connection)}
            self.events = list(_events(connection))
            # Those of schedules are in one order with those of runs.
            self.everything = sorted([*self.events, *_schedule_events(connection)], key=lambda event: event.position)
            self.skips: dict[str, list[DiskSkip]] = {}
            for name, *values in connection.execute(_SKIPS):
                self.skips.setdefault(name, []).append(DiskSkip(*values))
        self.by_run: dict[str, list[DiskEvent]] = {run_id: [] for run_id in self.runs}
        for event in self.events:
            self.by_run[event.run_id].append(event)

    def attempts(self, run_id: str) -> list[DiskAttempt]:
        attempts: list[DiskAttempt] = []
        for event in self.by_run[run_id]:
            payload = json.loads(event.payload_json)
            if event.event_type == "run.started":
                attempts.append(DiskAttempt(payload["attempt"]))
            elif attempts and not attempts[-1].ending:
                _take(attempts[-1], event.event_type, payload)
        return attempts


def _take(attempt: DiskAttempt, event_type: str, payload: Any) -> None:
    if event_type in ENDINGS:
        attempt.ending = event_type
        attempt.exit_code = payload.get("exit_code")
        attempt.error_code = payload.get("error", {}).get("code", "")
    elif event_type == "log" and payload["stream"] in _DESCRIPTORS:
        encoded = payload.get("base64")
        data = base64.b64decode(encoded) if encoded else payload["text"].encode()
        attempt.output[_DESCRIPTORS[payload["stream"]]] += data
    elif event_type == TICK:
        # A tick of another attempt is never expected, so it spoils the list.
        attempt.ticks.append(payload["n"] if payload["attempt"] == attempt.number else -1)


def _runs(connection: sqlite3.Connection) -> Iterator[DiskRun]:
    rows = connection.execute(
        "SELECT run_id, idempotency_key, target, status, attempt, backoff_limit, retry_of_run_id, parent_run_id, "
        "schedule_id, scheduled_for, trigger_kind, runs.created_at, start_after, error_json, input_json, output_json "
        "FROM runs JOIN documents USING (run_no)"
    )
    for *plain, error, input_json, output_json in rows:
        code = json.loads(error)["code"] if error else ""
        values = [*plain, code, *(json.loads(text or "null") for text in (input_json, output_json))]
        yield DiskRun(*values)


def _events(connection: sqlite3.Connection) -> Iterator[DiskEvent]:
    rows = connection.execute(
        "SELECT position, run_id, event_id, event_type, payload_json, e.created_at "
        "FROM events e JOIN runs USING (run_no) ORDER BY position"
    )
    yield from (DiskEvent(*row) for row in rows)


def _schedule_events(connection: sqlite3.Connection) -> Iterator[DiskEvent]:
    rows = connection.execute(
        "SELECT position, '', event_id, event_type, payload_json, created_at FROM schedule_events ORDER BY position"
    )
    yield from (DiskEvent(*row) for row in rows)


_SKIPS = (
    "SELECT schedule_id, first_at, last_at, count, reason FROM skips JOIN schedules USING (schedule_no) "
    "ORDER BY skip_no"
)


@dataclass(slots=True)
class LedgerAttempt:
    """What an attempt noted itself. `writes`: how many it had made when it was told to stop."""

    begun: int = 0
    ended: bool = False
    stopped: bool = False
    writes: int = 0


@dataclass(slots=True)
class Ledger:
    attempts: dict[tuple[str, int], LedgerAttempt] = field(default_factory=dict)
    # In the order in which attempts of a run began: (number, whether all before it had noted their end).
    begins: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)


def read_ledger(file: Path) -> Ledger:
    ledger = Ledger()
    for line in file.read_text().splitlines():
        run_id, number, what, writes, _ = line.split()
        attempt = ledger.attempts.setdefault((run_id, int(number)), LedgerAttempt())
        if what == "begin":
            begins = ledger.begins.setdefault(run_id, [])
            begins.append((int(number), all(ledger.attempts[run_id, n].ended for n, _ in begins)))
            attempt.begun += 1
        elif what == "end":
            attempt.ended = True
        else:
            attempt.stopped, attempt.writes = True, int(writes)
    return ledger
