"""The values that a caller gets: frozen, typed, with the names of the run record.

`to_dict()` of each gives what `json.dumps` takes, with just these names: times are RFC 3339 in UTC,
what is not set is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

T = TypeVar("T")

TERMINAL_EVENT_TYPES = frozenset({"run.completed", "run.failed", "run.cancelled"})


class RunKind(StrEnum):
    """`unspecified` is a kind that this client does not know."""

    UNSPECIFIED = "unspecified"
    TASK = "task"
    WORKFLOW = "workflow"


class RunStatus(StrEnum):
    """`unspecified` is a status that this client does not know."""

    UNSPECIFIED = "unspecified"
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in _TERMINAL_STATUSES


_TERMINAL_STATUSES = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class TriggerKind(StrEnum):
    """`unspecified` is a trigger that this client does not know."""

    UNSPECIFIED = "unspecified"
    MANUAL = "manual"
    SCHEDULE = "schedule"
    API = "api"


class StepKind(StrEnum):
    """`unspecified` is a kind that this client does not know."""

    UNSPECIFIED = "unspecified"
    FUNCTION = "function"
    RUN = "run"
    SLEEP = "sleep"
    SIGNAL = "signal"
    APPROVAL = "approval"
    PARALLEL = "parallel"
    MAP = "map"


class StepState(StrEnum):
    """`unspecified` is a state that this client does not know."""

    UNSPECIFIED = "unspecified"
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in _FINAL_STATES


_FINAL_STATES = frozenset({StepState.COMPLETED, StepState.FAILED, StepState.SKIPPED, StepState.CANCELLED})


class Record:
    """Base of the values: a dataclass that can be shown as JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]


class Unread(Record):
    """Base of a value with many members: each is read when it is first asked for, as most of them never are."""

    __slots__ = ("_read",)

    @classmethod
    def reading(cls, read: Callable[[str], Any]) -> Self:
        """`read` gives a member by its name. It is called at most once for each, or once for each thread."""
        value = object.__new__(cls)
        object.__setattr__(value, "_read", read)
        return value

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in self.__dataclass_fields__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            member = self._read(name)
            object.__setattr__(self, name, member)
            return member


def rfc3339(moment: datetime) -> str:
    """UTC, with milliseconds, or microseconds where there are any."""
    timespec = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, Enum):
        return value.value
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class RunError(Record):
    """Why a run failed: `message` for people, `code` for programs."""

    message: str
    code: str
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Artifact(Record):
    """A file that a run left; `sha256` is 64 hexadecimal digits."""

    name: str
    size_bytes: int
    sha256: str
    media_type: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Step(Record):
    """A recorded unit of work of a workflow run.

    `parent_step_id` is empty at the top. `output` is None, too, where it has more than 4096 characters
    as JSON; the `step.completed` event has it. `detail` is what the step waits for, `until` when it
    stops waiting.
    """

    step_id: str
    parent_step_id: str
    name: str
    kind: StepKind
    state: StepState
    attempt: int
    output: Any
    error: RunError | None
    started_at: datetime | None
    completed_at: datetime | None
    child_run_id: str
    detail: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Run(Unread):
    """One durable execution of a target. `logs`, `artifacts` and `steps` are empty in lists.

    `steps` are those of a workflow, in the order in which they began. `scheduled_for` is the occurrence of
    its schedule that the run was made for.
    """

    run_id: str
    kind: RunKind
    status: RunStatus
    project: str
    name: str
    target: str
    input: Any
    config: Any
    output: Any
    error: RunError | None
    logs: str
    logs_truncated: bool
    artifacts: tuple[Artifact, ...]
    duration_ms: int | None
    exit_code: int | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime | None
    parent_run_id: str
    root_run_id: str
    waiting_reason: str
    schedule_id: str
    batch_id: str
    trigger_kind: TriggerKind
    trigger_id: str
    created_by: str
    metadata: Mapping[str, Any]
    attempt: int
    timeout_seconds: float
    backoff_limit: int
    idempotency_key: str
    cancel_requested: bool
    priority: int
    concurrency_key: str
    start_after: datetime | None
    expires_after: datetime | None
    retry_of_run_id: str
    steps: tuple[Step, ...]
    steps_truncated: bool
    scheduled_for: datetime | None


@dataclass(frozen=True, slots=True)
class Event(Record):
    """An entry of a run's log; `event_id` is 1, 2, 3 … without gaps."""

    event_id: int
    event_type: str
    payload: Any
    created_at: datetime | None

    @property
    def is_terminal(self) -> bool:
        return self.event_type in TERMINAL_EVENT_TYPES


@dataclass(frozen=True, slots=True)
class WatchedEvent(Record):
    """An event of any run; `position` is its place in the order of all commits.

    An event of a schedule has its `schedule_id`, and no `run_id`.
    """

    position: int
    run_id: str
    target: str
    event: Event
    schedule_id: str = ""


@dataclass(frozen=True, slots=True)
class DefinitionProblem(Record):
    """Something wrong with a definition: where, and what would be right."""

    file: str
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.key, self.message) if part)


@dataclass(frozen=True, slots=True)
class TargetInfo(Record):
    """A definition that runs execute; one with problems cannot be run."""

    target: str
    kind: RunKind
    name: str
    description: str
    adapter: str
    timeout_seconds: float
    backoff_limit: int
    max_concurrent: int
    on_interrupt: str
    input_schema: Any
    config_schema: Any
    output_schema: Any
    source: str
    problems: tuple[DefinitionProblem, ...]


@dataclass(frozen=True, slots=True)
class PageInfo(Record):
    """Tokens of the pages of a list; empty where there is no such page."""

    self: str = ""
    first: str = ""
    next: str = ""
    prev: str = ""


@dataclass(frozen=True, slots=True)
class Page(Record, Generic[T]):
    """A page of a list."""

    data: tuple[T, ...]
    page_info: PageInfo


@dataclass(frozen=True, slots=True)
class CreateAnswer(Record):
    """`duplicate` is true when the idempotency key had made this run before."""

    accepted: bool
    duplicate: bool
    run: Run


@dataclass(frozen=True, slots=True)
class CancelAnswer(Record):
    """`cancelled` is false when the run had ended already."""

    cancelled: bool
    run: Run


@dataclass(frozen=True, slots=True)
class SignalAnswer(Record):
    """`duplicate` is true when the idempotency key had made this signal before."""

    accepted: bool
    duplicate: bool
    run: Run


@dataclass(frozen=True, slots=True)
class Definitions(Record):
    """The targets, and why there may be more: problems of what could not be read."""

    data: tuple[TargetInfo, ...]
    problems: tuple[DefinitionProblem, ...]


@dataclass(frozen=True, slots=True)
class ReloadAnswer(Record):
    """The targets as they are now, and all problems."""

    data: tuple[TargetInfo, ...]
    problems: tuple[DefinitionProblem, ...]
