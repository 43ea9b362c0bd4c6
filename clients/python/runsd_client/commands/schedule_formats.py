"""How schedules read to a person."""

from __future__ import annotations

from datetime import UTC, datetime

from runsd_client.commands.tables import Column, fitted
from runsd_client.commands.terminal import Screen
from runsd_client.commands.times import age, interval
from runsd_client.documents import display_json
from runsd_client.schedule_values import Occurrence, Schedule, ScheduleHealth, ScheduleSpec, SkippedOccurrences
from runsd_client.values import DefinitionProblem, rfc3339

HEALTH_STYLES = {ScheduleHealth.HEALTHY: "green", ScheduleHealth.STALE: "yellow", ScheduleHealth.FAILING: "red"}
_COLUMNS = (
    Column("SCHEDULE", 0),  # whole, to be copied
    Column("WHEN", 1, least=14),
    Column("TARGET", 4, least=12),
    Column("NEXT", 2),
    Column("LAST", 6),
    Column("LAST RUN", 7),
    Column("HEALTH", 3),
    Column("STATE", 5),
)
_WHEN = ("cron", "timezone", "at", "every_seconds")
_SHOWN_APART = ("target", "catch_up_window_seconds", *_WHEN)
_SECONDS = "_seconds"
# Where intervals count from unless something else is said.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def when_text(spec: ScheduleSpec) -> str:
    if spec.cron:
        return f"{spec.cron} {spec.timezone or 'UTC'}"
    if spec.every_seconds is not None:
        return f"every {interval(spec.every_seconds)}"
    return f"at {utc_text(spec.at)}" if spec.at else ""


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ").replace("+00:00", "Z")


def state_text(schedule: Schedule) -> str:
    """Where a declaration is broken, the one before it is in force."""
    lost = [problem for problem in schedule.problems if problem.key == "timezone"]
    is_broken = len(lost) < len(schedule.problems)
    words = ["paused" if schedule.paused else "zone unknown" if lost else "active" if schedule.next else "over"]
    if schedule.source:
        words.append("declaration broken" if is_broken else "declared")
    return ", ".join(words)


def show_schedules(screen: Screen, schedules: tuple[Schedule, ...]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            (schedule.schedule_id, "red" if schedule.problems else "bold"),
            (when_text(schedule.spec), ""),
            (schedule.spec.target, ""),
            (_moment(screen, schedule.next[0].at if schedule.next else None, now), ""),
            (_moment(screen, schedule.last_scheduled_for, now), ""),
            (schedule.last_run_id, ""),
            (schedule.health, HEALTH_STYLES.get(schedule.health, "")),
            (state_text(schedule), "yellow" if schedule.paused else ""),
        )
        for schedule in schedules
    ]
    if screen.is_terminal:
        screen.table(*fitted(_COLUMNS, rows, screen.console.width))
    else:
        screen.table([column.title for column in _COLUMNS], rows)
    for schedule in schedules:
        show_problems(screen, schedule)


def show_problems(screen: Screen, schedule: Schedule) -> None:
    for problem in schedule.problems:
        screen.error(f"{schedule.schedule_id}: {problem}")


def show_further_problems(
    screen: Screen, schedules: tuple[Schedule, ...], problems: tuple[DefinitionProblem, ...]
) -> None:
    """Those of a project that are of none of the schedules: of modules, and of what was never in force."""
    said = {problem for schedule in schedules for problem in schedule.problems}
    for problem in problems:
        if problem not in said:
            screen.error(f"not all schedules are in force: {problem}")


def _moment(screen: Screen, moment: datetime | None, now: datetime) -> str:
    if screen.is_terminal:
        return age(moment, now)
    return rfc3339(moment) if moment else ""


def show_schedule(screen: Screen, schedule: Schedule) -> None:
    """One thing a line: how it stands, then what it is set to; the documents last."""
    source = f"declared in {schedule.source}" if schedule.source else ""
    _field(screen, "schedule_id", schedule.schedule_id)
    _field(screen, "target", schedule.spec.target)
    _field(screen, "when", when_text(schedule.spec))
    _field(screen, "state", state_text(schedule), in_brackets(schedule.pause_reason))
    _field(screen, "source", source)
    _field(
        screen,
        "health",
        schedule.health,
        in_brackets(health_reason(schedule)),
        style=HEALTH_STYLES.get(schedule.health, ""),
    )
    for occurrence in schedule.next:
        _field(screen, "next", _local_text(occurrence), in_brackets(utc_text(occurrence.at)), occurrence.note)
    _field(screen, "last_run", schedule.last_run_id, _remark("for", schedule.last_scheduled_for))
    _field(screen, "last_success", schedule.last_success_run_id, _remark("at", schedule.last_success_at))
    _field(screen, "runs", _counts(schedule))
    for skipped in schedule.skips:
        _field(screen, "skipped", _skipped_text(skipped))
    _show_spec(screen, schedule.spec)
    _field(screen, "etag", schedule.etag)
    show_problems(screen, schedule)


def _show_spec(screen: Screen, spec: ScheduleSpec) -> None:
    record = spec.to_dict()
    for name in (name for name in record if name not in _SHOWN_APART):
        value = record[name]
        if name == "anchor" and spec.anchor == _EPOCH:
            continue
        if value in ("", None, [], {}) or (value == 0 and name not in ("timeout_seconds", "backoff_limit")):
            continue
        if name.endswith(_SECONDS):
            name, value = name.removesuffix(_SECONDS), interval(value)
        elif name == "concurrency_policy":
            value = value.capitalize()
        _field(screen, name, value if isinstance(value, str) else display_json(value), _catch_up_window(name, spec))


def _catch_up_window(name: str, spec: ScheduleSpec) -> str:
    window = spec.catch_up_window_seconds
    return f"of the last {interval(window)}" if name == "catch_up" and window is not None else ""


def _field(screen: Screen, name: str, value: str, *remarks: str, style: str = "") -> None:
    if value:
        screen.line((f"{name:<20}", "bold"), (value, style), *((remark, "dim") for remark in remarks))


def in_brackets(text: str) -> str:
    return f"({text})" if text else ""


def health_reason(schedule: Schedule) -> str:
    if schedule.health is ScheduleHealth.FAILING:
        return "the run that ended last has failed"
    if schedule.health is ScheduleHealth.STALE:
        return f"no run has completed for more than {interval(schedule.spec.max_staleness_seconds)}"
    return ""


def _remark(word: str, moment: datetime | None) -> str:
    return f"{word} {utc_text(moment)}" if moment else ""


def _counts(schedule: Schedule) -> str:
    counts = {
        "on schedule": schedule.runs_made,
        "not ended": schedule.active_runs,
        "queued": schedule.queued,
        "skipped": schedule.skipped,
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count or what == "on schedule")


def _skipped_text(skipped: SkippedOccurrences) -> str:
    first, last = utc_text(skipped.first_at), utc_text(skipped.last_at)
    if skipped.count == 1:
        return f"{first}: {skipped.reason}"
    most = "at least " if skipped.is_at_least else ""
    return f"{most}{skipped.count} from {first} to {last}: {skipped.reason}"


def next_text(schedule: Schedule) -> str:
    """What comes next, after a change."""
    if schedule.paused:
        return "paused"
    return f"next {_local_text(schedule.next[0])}" if schedule.next else "nothing is due any more"


def show_occurrences(screen: Screen, occurrences: tuple[Occurrence, ...]) -> None:
    """On a terminal the local time has its weekday."""
    rows = [
        (
            (_local_text(o) if screen.is_terminal else o.local, "bold"),
            (utc_text(o.at) if screen.is_terminal else rfc3339(o.at), ""),
            (o.note, "yellow"),
        )
        for o in occurrences
    ]
    has_notes = any(o.note for o in occurrences)
    titles = ("LOCAL", "UTC", "NOTE") if has_notes else ("LOCAL", "UTC")
    screen.table(titles, [row[: len(titles)] for row in rows])


def _local_text(occurrence: Occurrence) -> str:
    local = datetime.fromisoformat(occurrence.local)
    return f"{local:%a} {local.isoformat(sep=' ')}"
