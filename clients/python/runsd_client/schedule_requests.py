"""What a caller says of a schedule, and the messages it becomes; as `requests` does for runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict

from runsd_client.durations import Duration
from runsd_client.errors import FieldViolation, InvalidRequestError
from runsd_client.proto import schedules_pb2
from runsd_client.requests import fill
from runsd_client.schedule_values import CatchUp, ConcurrencyPolicy


class TimetableOptions(TypedDict, total=False):
    """When it is due: one of `cron` (a text of five fields), `at` and `every`.

    `timezone` goes with `cron` and `anchor` with `every`. A duration is a number of seconds, a timedelta, or
    a text such as `10m`.
    """

    cron: str | None
    timezone: str | None
    at: datetime | None
    every: Duration | None
    anchor: datetime | None
    start_at: datetime | None
    end_at: datetime | None


class ScheduleOptions(TimetableOptions, total=False):
    """All that can be said about a schedule, beside its id and target; see ScheduleSpec."""

    description: str | None
    run_name: str | None
    input: Any
    config: Any
    metadata: Mapping[str, Any] | None
    priority: int | None
    timeout_seconds: float | None
    backoff_limit: int | None
    concurrency_policy: ConcurrencyPolicy | str | None
    catch_up: CatchUp | str | None
    catch_up_window: Duration | None
    jitter: Duration | None
    max_runs: int | None
    max_staleness_seconds: Duration | None


class ScheduleChanges(ScheduleOptions, total=False):
    """What to change; None unsets."""

    target: str


_WIRE_NAMES = {
    "every": "every_seconds",
    "catch_up_window": "catch_up_window_seconds",
    "jitter": "jitter_seconds",
}
# What is unset when another of them is chosen.
_WAYS: Mapping[str, tuple[str, ...]] = {"cron": ("cron", "timezone"), "at": ("at",), "every": ("every", "anchor")}


def new_spec(target: str, options: ScheduleOptions) -> schedules_pb2.ScheduleSpec:
    _refuse_unknown("create", options, ScheduleOptions)
    return _with(schedules_pb2.ScheduleSpec(), {"target": target, **options})


def changed_spec(spec: schedules_pb2.ScheduleSpec, changes: ScheduleChanges) -> schedules_pb2.ScheduleSpec:
    """`spec` with just the changes; what this client does not know of it stays, too."""
    _refuse_unknown("update", changes, ScheduleChanges)
    copy = schedules_pb2.ScheduleSpec()
    copy.CopyFrom(spec)
    return _with(copy, {**_other_ways(changes), **changes})


def with_defaults(spec: schedules_pb2.ScheduleSpec) -> schedules_pb2.ScheduleSpec:
    """As the daemon gives it back: with what the contract says of fields that are left out."""
    filled = schedules_pb2.ScheduleSpec(
        concurrency_policy=schedules_pb2.CONCURRENCY_POLICY_ALLOW,
        catch_up=schedules_pb2.CATCH_UP_LATEST,
        catch_up_window_seconds=86_400,
    )
    filled.MergeFrom(spec)
    times = filled.timetable
    if times.cron:
        times.cron, times.timezone = " ".join(times.cron.split()), times.timezone or "UTC"
    elif times.HasField("every_seconds"):
        times.anchor.SetInParent()
    return filled


def timetable(options: TimetableOptions) -> schedules_pb2.Timetable:
    _refuse_unknown("preview", options, TimetableOptions)
    found = schedules_pb2.Timetable()
    _raise_any(_change(found, options, "timetable."))
    return found


def _other_ways(changes: ScheduleChanges) -> dict[str, None]:
    """A schedule that gets an interval has no cron expression any more."""
    chosen = [way for way in _WAYS if changes.get(way) is not None]
    if len(chosen) != 1:
        return {}
    return {name: None for way, names in _WAYS.items() if way != chosen[0] for name in names}


def _with(spec: schedules_pb2.ScheduleSpec, values: Mapping[str, Any]) -> schedules_pb2.ScheduleSpec:
    times = {name: value for name, value in values.items() if name in TimetableOptions.__annotations__}
    others = {name: value for name, value in values.items() if name not in times}
    _raise_any([*_change(spec, others, "spec."), *_change(spec.timetable, times, "spec.timetable.")])
    return spec


def _change(
    message: schedules_pb2.ScheduleSpec | schedules_pb2.Timetable, values: Mapping[str, Any], path: str
) -> Iterator[FieldViolation]:
    named = {_WIRE_NAMES.get(name, name): value for name, value in values.items()}
    clear: Callable[[Any], None] = message.ClearField
    for name in named:
        clear(name if name in message.DESCRIPTOR.fields_by_name else f"{name}_json")
    try:
        fill(message, named)
    except InvalidRequestError as error:
        yield from (FieldViolation(f"{path}{v.field}", v.description) for v in error.violations)


def _raise_any(violations: Iterator[FieldViolation] | list[FieldViolation]) -> None:
    if found := list(violations):
        raise InvalidRequestError(found)


def _refuse_unknown(method: str, options: Mapping[str, Any], known: type) -> None:
    unknown = options.keys() - known.__annotations__.keys()
    if unknown:
        raise TypeError(f"{method}() has no option {min(unknown)!r}; the options are those of {known.__name__}")
