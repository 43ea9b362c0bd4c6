"""What a caller asks for, and the message it becomes.

What cannot be sent at all is refused here, as the daemon would: an InvalidRequestError that names
every field at fault.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, TypedDict, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from runsd_client.conversion import KIND_NUMBERS, STATUS_NUMBERS, TRIGGER_KIND_NUMBERS
from runsd_client.documents import write_document
from runsd_client.durations import seconds
from runsd_client.errors import FieldViolation, InvalidRequestError
from runsd_client.proto import runs_pb2
from runsd_client.schedule_conversion import CATCH_UP_NUMBERS, POLICY_NUMBERS
from runsd_client.settings import Settings
from runsd_client.values import RunKind, RunStatus, TriggerKind

M = TypeVar("M", bound=Message)


class RunOptions(TypedDict, total=False):
    """All that can be said about a run to create, beside its target; see NewRun."""

    name: str
    input: Any
    config: Any
    metadata: Mapping[str, Any] | None
    timeout_seconds: float | None
    backoff_limit: int | None
    idempotency_key: str
    priority: int
    concurrency_key: str
    start_after_seconds: float
    expires_after_seconds: float
    parent_run_id: str | None
    batch_id: str
    trigger_kind: TriggerKind | str
    trigger_id: str
    created_by: str


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create.

    `input` and `config` are any JSON value. `timeout_seconds` and `backoff_limit` (retries after the
    first attempt) are the definition's unless set. Without an `idempotency_key` the client makes one,
    so that a call which is made again creates nothing twice. `parent_run_id` None is the run that
    this process is part of, if any.
    """

    target: str
    name: str = ""
    input: Any = None
    config: Any = None
    metadata: Mapping[str, Any] | None = None
    timeout_seconds: float | None = None
    backoff_limit: int | None = None
    idempotency_key: str = ""
    priority: int = 0
    concurrency_key: str = ""
    start_after_seconds: float = 0.0
    expires_after_seconds: float = 0.0
    parent_run_id: str | None = None
    batch_id: str = ""
    trigger_kind: TriggerKind | str = TriggerKind.UNSPECIFIED
    trigger_id: str = ""
    created_by: str = ""


_UNSET = {field.name: None if field.default is MISSING else field.default for field in fields(NewRun)}


class RunFilters(TypedDict, total=False):
    """Which runs to list; a run must fit every filter that is set.

    `metadata`: each member must be in the run's, with an equal value.
    """

    statuses: Sequence[RunStatus | str]
    kind: RunKind | str
    target: str
    name_prefix: str
    parent_run_id: str
    batch_id: str
    metadata: Mapping[str, Any] | None
    created_from: datetime | None
    created_before: datetime | None
    schedule_id: str


def task_run(target: str, options: RunOptions) -> NewRun:
    _refuse_unknown("create_task_run", options)
    return NewRun(_target_of_kind(RunKind.TASK, target), **options)


def workflow_run(workflow_id: str | None, target: str | None, options: RunOptions) -> NewRun:
    """Of a workflow by its id or as a target; where both are given they must agree."""
    _refuse_unknown("create_workflow_run", options)
    by_id = f"{RunKind.WORKFLOW}:{workflow_id}" if workflow_id else None
    if by_id and target and by_id != target:
        raise invalid("target", f"{target!r} is not the workflow {workflow_id!r}; give one of them")
    return NewRun(_target_of_kind(RunKind.WORKFLOW, by_id or target or ""), **options)


def _refuse_unknown(method: str, options: RunOptions) -> None:
    unknown = options.keys() - RunOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"{method}() has no option {min(unknown)!r}; the options are those of NewRun")


def create_request(run: NewRun, settings: Settings, project: str) -> runs_pb2.CreateRunRequest:
    parent = settings.parent_run_id if run.parent_run_id is None else run.parent_run_id
    values = {name: value for name, unset in _UNSET.items() if (value := getattr(run, name)) is not unset}
    values |= {"idempotency_key": run.idempotency_key or new_key(), "parent_run_id": parent}
    return fill(runs_pb2.CreateRunRequest(project=project), values)


def batch_request(runs: Sequence[NewRun], settings: Settings, project: str) -> runs_pb2.BatchCreateRunsRequest:
    requests: list[runs_pb2.CreateRunRequest] = []
    violations: list[FieldViolation] = []
    for index, run in enumerate(runs):
        try:
            requests.append(create_request(run, settings, project))
        except InvalidRequestError as error:
            violations += (FieldViolation(f"requests[{index}].{v.field}", v.description) for v in error.violations)
    if violations:
        raise InvalidRequestError(violations)
    return runs_pb2.BatchCreateRunsRequest(project=project, requests=requests)


def new_key() -> str:
    """Keys in order of time stand beside each other in the daemon's index: keys at random are a page of it each."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds:012x}{os.urandom(10).hex()}"


def fill(message: M, values: Mapping[str, Any]) -> M:
    """Sets the fields of `message`, None left out; documents go to their `*_json` field."""
    violations = []
    writers = _writers(message.DESCRIPTOR)
    for name, value in values.items():
        field = name if name in writers else f"{name}_json"
        try:
            if value is not None:
                writers[field](message, value)
        except (TypeError, ValueError) as error:
            violations.append(FieldViolation(field, f"{error}"))
    if violations:
        raise InvalidRequestError(violations)
    return message


_Writer = Callable[[Any, Any], None]


@cache
def _writers(message: Descriptor) -> Mapping[str, _Writer]:
    """How each field is set; found once, since descriptors are slow to ask."""
    return {field.name: _writer(field) for field in message.fields}


def _writer(field: Any) -> _Writer:
    name = field.name
    if name == "statuses":
        return lambda message, value: message.statuses.extend(map(_STATUSES.number, _several(value)))
    if field.message_type is Timestamp.DESCRIPTOR:
        return lambda message, value: getattr(message, name).FromDatetime(_aware(value))
    if field.is_repeated:
        return lambda message, value: getattr(message, name).extend(value)
    converted = _converted(name)
    if converted is None:
        return lambda message, value: setattr(message, name, value)
    return lambda message, value: setattr(message, name, converted(value))


def _converted(name: str) -> Callable[[Any], Any] | None:
    """What becomes of a value before it is set, if anything."""
    if name.endswith("_json"):
        return write_document
    if name in _DURATIONS:
        return seconds
    return _ENUMS[name].number if name in _ENUMS else None


def _several(value: Sequence[str] | str) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def _aware(moment: datetime) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"{moment!r} is no time; use an aware datetime")
    if moment.tzinfo is None:
        raise ValueError("the time has no time zone; use an aware datetime")
    return moment


@dataclass(frozen=True, slots=True)
class _EnumNumbers:
    """The wire's numbers of a string enum, by its values in any case; `spelled` is how they are shown."""

    numbers: Mapping[Any, int]
    spelled: Callable[[str], str] = str

    def number(self, value: str) -> int:
        try:
            return self.numbers[str(value).lower()]
        except KeyError:
            allowed = ", ".join(self.spelled(str(name)) for name in self.numbers if self.numbers[name])
            raise ValueError(f"{value!r} is not one of {allowed}") from None


_STATUSES = _EnumNumbers(STATUS_NUMBERS)
_ENUMS: Mapping[str, _EnumNumbers] = {
    "kind": _EnumNumbers(KIND_NUMBERS),
    "trigger_kind": _EnumNumbers(TRIGGER_KIND_NUMBERS),
    "concurrency_policy": _EnumNumbers(POLICY_NUMBERS, str.capitalize),
    "catch_up": _EnumNumbers(CATCH_UP_NUMBERS),
}
_DURATIONS = frozenset({"every_seconds", "catch_up_window_seconds", "jitter_seconds", "max_staleness_seconds"})


def _target_of_kind(kind: RunKind, target: str) -> str:
    if not target.startswith(f"{kind}:"):
        raise invalid("target", f"{target!r} is no {kind}; write {kind}:<id>")
    return target


def invalid(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError([FieldViolation(field, description)])
