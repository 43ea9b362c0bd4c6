"""The verdict as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from statistics import median

from tests.torture.checker import runs_by_kind_and_status
from tests.torture.harness import Verdict

SHOWN_VIOLATIONS = 50


def report(verdict: Verdict) -> str:
    lines = [f"{name:<48} {value}" for name, value in _rows(verdict)]
    violations = [f"VIOLATION {text}" for text in verdict.violations[:SHOWN_VIOLATIONS]]
    if len(verdict.violations) > SHOWN_VIOLATIONS:
        violations.append(f"… and {len(verdict.violations) - SHOWN_VIOLATIONS} more")
    return "\n".join([*lines, *violations])


def _rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    kills, witness, disk = verdict.kills, verdict.witness, verdict.disk
    answers = [answer for answers in witness.created.values() for answer in answers]
    yield "seed", str(verdict.seed)
    yield "cycles, in seconds", f"{verdict.cycles:,}, {verdict.seconds:.0f}"
    yield "kills after readiness, while starting", f"{kills.after_ready:,}, {kills.while_starting:,}"
    yield "recovery, median and longest", f"{median(kills.recovery):.2f} s, {max(kills.recovery):.2f} s"
    yield "creates acknowledged, of them duplicates", f"{len(answers):,}, {sum(a.duplicate for a in answers):,}"
    yield "keys, runs", f"{len(witness.wishes):,}, {len(disk.runs):,}"
    yield "retries, cancels acknowledged", f"{len(witness.retried):,}, {len(witness.cancelled):,}"
    yield from _flow_rows(verdict)
    yield from _schedule_rows(verdict)
    for name, count in sorted(runs_by_kind_and_status(disk).items()):
        yield f"  runs: {name}", f"{count:,}"
    for name, count in sorted(verdict.judge.attempts.items()):
        yield f"  attempts: {name}", f"{count:,}"
    yield "events on disk", f"{len(disk.events):,}"
    yield (
        "subscribers, events they saw",
        f"{len(witness.followings):,}, {sum(len(f.seen) for f in witness.followings):,}",
    )
    yield "events the watchers saw", f"{len(witness.watched):,}, {len(witness.watched_lifecycles):,}"
    yield "bytes of output compared", f"{verdict.judge.bytes_compared:,}"
    for name, count in sorted(witness.failures.items()):
        yield f"  made again after {name}", f"{count:,}"
    yield "notes of runsd verify", str(sum(line.startswith("note:") for line in verdict.verified.splitlines()))
    yield "violations", str(len(verdict.violations))


def _flow_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    kills, witness, counts = verdict.kills, verdict.witness, verdict.flows.counts
    yield "found waiting at kills, gone on with", f"{kills.found_waiting:,}, {counts['resumed']:,}"
    yield "signals and decisions sent", f"{len(witness.signalled):,}, {len(witness.decided):,}"
    yield "  refused, since too late", f"{_refused(verdict):,}"
    yield "steps begun, of them again", f"{counts['begun']:,}, {counts['begun again']:,}"
    for name in ("completed", "failed", "skipped", "copied"):
        yield f"  steps: {name}", f"{counts[name]:,}"


def _schedule_rows(verdict: Verdict) -> Iterator[tuple[str, str]]:
    told, counts = verdict.witness.schedules, verdict.schedules.counts
    changes = Counter(change.kind for schedule in told for change in schedule.changes)
    yield "schedules, their runs", f"{len(told):,}, {counts['runs']:,}"
    yield (
        "  paused, updated, deleted and made again",
        ", ".join(f"{changes[kind]:,}" for kind in ("paused", "updated", "replaced")),
    )
    answers = sum(len(schedule.backfills) for schedule in told)
    yield (
        "  triggers, backfills, retries",
        ", ".join(
            f"{count:,}" for count in (sum(len(s.triggered) for s in told), answers, sum(len(s.retried) for s in told))
        ),
    )
    for name in (
        "occurrences",
        "due where it is known",
        "made while the daemon was late",
        "skipped",
        "missed with the daemon there",
        "lost by a change",
    ):
        yield f"  occurrences: {name}" if name != "occurrences" else "  occurrences that made runs", f"{counts[name]:,}"


def _refused(verdict: Verdict) -> int:
    signals = sum(sent.is_new is None for sent in verdict.witness.signalled)
    return signals + sum(not decided.is_taken for decided in verdict.witness.decided)
