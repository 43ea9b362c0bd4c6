"""Each schedule held against what its callers were answered: occurrences once, none lost beyond its policy.

An occurrence is judged where the schedule surely was in force, or surely was not: between the answer to one
change and the sending of the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.torture.disk import Disk, DiskSkip
from tests.torture.killing import Life
from tests.torture.schedule_run_judging import RunsOfSchedule
from tests.torture.schedule_witness import Change, ScheduleWitness
from tests.torture.schedules import ALL, FORBID, MAX_RUNS, QUEUE, SECOND

# A change can come before what was due a moment ago.
LAG = SECOND
# A daemon that lived for so long had seen what was due when it came.
SETTLED = SECOND // 2
_FOREVER = 1 << 62


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Between two changes; `ends_by` is the later one."""

    begin: int
    end: int
    is_in_force: bool
    ends_by: Change | None = None

    def has(self, at: int) -> bool:
        return self.begin < at < self.end


class ScheduleJudge:
    """`counts` is for the table."""

    def __init__(self, disk: Disk, lives: Sequence[Life]) -> None:
        self._disk = disk
        self._lives = lives
        self.counts: Counter[str] = Counter()

    def faults(self, told: ScheduleWitness) -> Iterator[str]:
        runs = RunsOfSchedule(self._disk, told)
        skips = self._disk.skips.get(told.wish.schedule_id, [])
        self._count(runs, skips)
        yield from runs.faults()
        yield from self._listed_faults(told, runs)
        yield from self._decided_faults(told, runs, skips)
        yield from self._skip_faults(told, runs, skips)
        yield from _trigger_faults(told, self._disk, runs)
        yield from _backfill_faults(told, runs)
        yield from _retry_faults(told, self._disk)
        yield from _standing_faults(told, runs)

    def _count(self, runs: RunsOfSchedule, skips: Sequence[DiskSkip]) -> None:
        self.counts["runs"] += len(runs.by_id)
        self.counts["occurrences"] += len(runs.occurrences)
        self.counts["made while the daemon was late"] += sum(run.created_at - at > SECOND for at, run in runs.regular)
        self.counts["skipped"] += sum(skip.count for skip in skips)

    def _listed_faults(self, told: ScheduleWitness, runs: RunsOfSchedule) -> Iterator[str]:
        listed = [(run.run_id, run.scheduled_for.ToMicroseconds() or None) for run in told.runs]
        found = {(run.run_id, run.scheduled_for) for run in runs.by_id.values()}
        if len(listed) != len(found) or set(listed) != found:
            yield f"ListRuns gave {len(listed)} runs, differing by {set(listed) ^ found}"

    def _decided_faults(self, told: ScheduleWitness, runs: RunsOfSchedule, skips: Sequence[DiskSkip]) -> Iterator[str]:
        for at, count in Counter(runs.all_scheduled_for).items():
            if count > 1:
                yield f"occurrence {at} made {count} runs"
        for stretch in _stretches(told.changes):
            if stretch.is_in_force and not told.wish.max_runs:
                yield from self._lost(told, stretch, runs, skips)
            elif not stretch.is_in_force:
                yield from _made_though_not_in_force(stretch, runs)

    def _lost(
        self, told: ScheduleWitness, stretch: _Stretch, runs: RunsOfSchedule, skips: Sequence[DiskSkip]
    ) -> Iterator[str]:
        """Only the last ones before a change may be lost by it, where the daemon had not come to them."""
        step = told.wish.step
        due = range((stretch.begin // step + 1) * step, stretch.end, step)
        self.counts["due where it is known"] += len(due)
        decided = [at for at in due if at in runs.occurrences or any(skip.has(at) for skip in skips)]
        lost = sorted(set(due) - set(decided))
        self.counts["lost by a change"] += len(lost)
        # Those made up for by a caller tell nothing of how far the daemon had come.
        reached = max((at for at, _ in runs.regular if stretch.has(at)), default=0)
        if not lost:
            return
        if lost[0] < reached:
            yield f"occurrence {lost[0]} is lost, and {reached} is not"
        elif lost[0] < self._may_be_lost_from(told, stretch):
            yield f"occurrences {lost[0]} to {lost[-1]} are lost before {stretch.ends_by}"

    def _may_be_lost_from(self, told: ScheduleWitness, stretch: _Stretch) -> int:
        assert stretch.ends_by is not None
        if told.wish.policy == QUEUE and any(c.kind == "replaced" and c.sent_at >= stretch.end for c in told.changes):
            return 0  # dropped with the queue, by then
        if stretch.ends_by.kind == "ended":
            return stretch.end - LAG
        ends = [life.end for life in self._lives if life.end and life.end - life.begin > SETTLED]
        before = bisect_right(ends, stretch.ends_by.sent_at)
        return ends[before - 1] - LAG if before else 0

    def _skip_faults(self, told: ScheduleWitness, runs: RunsOfSchedule, skips: Sequence[DiskSkip]) -> Iterator[str]:
        wish, last_life = told.wish, self._lives[-1]
        for skip in skips:
            if skip.count > (skip.last_at - skip.first_at) // wish.step + 1:
                yield f"{skip} has more occurrences than there are"
            if wish.policy != FORBID and wish.catch_up == ALL:
                yield f"{skip}, by its policy it skips none"
            if skip.is_missed and skip.last_at >= last_life.begin:
                yield f"{skip}, and the daemon was there since {last_life.begin}"
            if not skip.is_missed and wish.policy != FORBID:
                yield f"{skip}, by its policy it waits for none"
            twice = [at for at, _ in runs.regular if skip.has(at)]
            if twice:
                yield f"{skip}, and {twice} made runs"
            if skip.is_missed:
                self.counts["missed with the daemon there"] += sum(map(self._was_there, skip.moments(wish.step)))
        counted = sum(skip.count for skip in skips)
        if counted < told.last.skipped or (not wish.is_disturbed and counted != told.last.skipped):
            yield f"it counts {told.last.skipped} skipped, its skips are {counted}"

    def _was_there(self, at: int) -> bool:
        """The daemon, and it stayed for a while."""
        return any(life.begin <= at and life.end is not None and at < life.end - SETTLED for life in self._lives)


def _stretches(changes: Sequence[Change]) -> Iterator[_Stretch]:
    for change, following in pairwise(changes):
        yield _Stretch(change.known_at, following.sent_at, change.is_in_force, following)
    yield _Stretch(changes[-1].known_at, _FOREVER, changes[-1].is_in_force)


def _made_though_not_in_force(stretch: _Stretch, runs: RunsOfSchedule) -> Iterator[str]:
    """After its end what is queued still gets its run."""
    for at, run in runs.regular:
        if stretch.has(at):
            yield f"occurrence {at} made {run.run_id}, though it was paused or over from {stretch.begin}"
        elif stretch.ends_by is not None and stretch.has(run.created_at):
            yield f"{run.run_id} was made at {run.created_at}, though it was paused from {stretch.begin}"


def _trigger_faults(told: ScheduleWitness, disk: Disk, runs: RunsOfSchedule) -> Iterator[str]:
    """Each key made one run, whose id was answered."""
    by_key = Counter(run.key for run in runs.by_id.values() if run.key)
    for key, answers in told.triggered.items():
        ids = {run_id for run_id, _ in answers}
        if by_key[key] != 1 or len(ids) != 1:
            yield f"trigger {key!r} was answered {answers}, and made {by_key[key]} runs"
        if sum(not duplicate for _, duplicate in answers) > 1:
            yield f"trigger {key!r} was acknowledged as new more than once"
        for run in map(disk.runs.get, ids):
            if run is None or (run.key, run.scheduled_for, run.trigger_kind) != (key, None, "manual"):
                yield f"trigger {key!r} was answered {answers}, and made {run}"


def _backfill_faults(told: ScheduleWitness, runs: RunsOfSchedule) -> Iterator[str]:
    """Asked twice, the same runs are named; where one was queued it may have got its run meanwhile."""
    for backfill in told.backfills:
        first, second = backfill.answers
        if first.keys() != second.keys() or any(first[at] and first[at] != second[at] for at in first):
            yield f"a backfill was answered {first} and {second}"
        for at, run_id in [*first.items(), *second.items()]:
            made = runs.occurrences.get(at)
            if run_id and (made is None or made.run_id != run_id):
                yield f"a backfill named {run_id} for {at}, which has {made}"


def _retry_faults(told: ScheduleWitness, disk: Disk) -> Iterator[str]:
    for run_id, again in told.retried:
        run = disk.runs.get(again)
        if run is None or run.retry_of != run_id or run.scheduled_for != disk.runs[run_id].scheduled_for:
            yield f"{again}, acknowledged as retry of {run_id}, is {run}"


def _standing_faults(told: ScheduleWitness, runs: RunsOfSchedule) -> Iterator[str]:
    last, wish = told.last, told.wish
    if last.active_runs or last.queued or last.next:
        yield f"at its end it has {last.active_runs} runs, {last.queued} queued, and {last.next} to come"
    if wish.max_runs and len(runs.regular) != MAX_RUNS:
        yield f"it was to make {MAX_RUNS} runs and made {len(runs.regular)}"
    if not wish.is_disturbed and last.runs_made != len(runs.regular):
        yield f"it counts {last.runs_made} runs made, there are {len(runs.regular)}"
    if not wish.is_disturbed and (runs.last_ended_failed is not None):
        expected = 3 if runs.last_ended_failed else 1
        if last.health != expected:
            yield f"its health is {last.health}, its last run {'failed' if runs.last_ended_failed else 'completed'}"
