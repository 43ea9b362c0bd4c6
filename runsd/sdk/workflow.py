"""What a workflow's function is given: durable steps, waits and children.

The function is executed again from its start whenever its run goes on after a pause or a crash; calls
of this context answer from the record as far as it reaches. So whatever touches the world belongs into
a step, and branches and loops may depend only on what this context gave. An operation counts when it is
awaited; its place in the record is where it was called. One that never is fails the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from runsd.sdk.arguments import (
    Strategy,
    approvers_given,
    check_race,
    configs_given,
    function_given,
    items_given,
    limit_given,
    named,
    strategy_given,
    text_given,
)
from runsd.sdk.documents import NotJson, dumps
from runsd.sdk.durations import seconds

Duration = str | float | timedelta
Backoff = Literal["fixed", "linear", "exponential"]
MAX_RETRIES = 1000
BACKOFFS = ("fixed", "linear", "exponential")


class StepFailed(Exception):
    """A step ended badly, and was not to be tried again. The same when it comes from the record."""

    def __init__(self, step_id: str, message: str, code: str, detail: Any = None) -> None:
        super().__init__(message)
        self.step_id = step_id
        self.message = message
        self.code = code
        self.detail = detail


class WaitTimeout(StepFailed, TimeoutError):
    """A signal or a decision did not come in time."""


class ApprovalRejected(StepFailed):
    """Somebody decided against it. `approval` says who and why."""

    def __init__(self, step_id: str, approval: Approval) -> None:
        by = f" by {approval.by}" if approval.by else ""
        comment = f": {approval.comment}" if approval.comment else ""
        super().__init__(step_id, f"approval {approval.name!r} was rejected{by}{comment}", "rejected")
        self.approval = approval


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision. `data` is the structured answer, None where there is none."""

    name: str
    approved: bool
    by: str = ""
    comment: str = ""
    data: Any = None


@dataclass(frozen=True, slots=True)
class Settled:
    """How a branch ended under `all_settled`: its value, or its error."""

    value: Any = None
    error: StepFailed | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a step is tried again. `max_attempts` counts the first one."""

    max_attempts: int = 3
    backoff: Backoff = "exponential"
    initial_delay: Duration = 1.0
    max_delay: Duration = 300.0

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or not 1 <= self.max_attempts <= MAX_RETRIES + 1:
            raise ValueError(f"max_attempts must be 1 to {MAX_RETRIES + 1}, not {self.max_attempts!r}")
        if self.backoff not in BACKOFFS:
            raise ValueError(f"backoff must be one of {', '.join(BACKOFFS)}, not {self.backoff!r}")
        initial, longest = seconds(self.initial_delay), seconds(self.max_delay)
        if longest < initial:
            delays = f"max_delay ({longest:.15g} s) is less than initial_delay ({initial:.15g} s)"
            raise ValueError(f"{delays}; raise max_delay")

    @classmethod
    def of(cls, retry: Retry | int | None) -> Retry:
        """A number is how many retries may follow the first attempt."""
        if isinstance(retry, Retry):
            return retry
        if retry is None:
            return _ONCE
        if isinstance(retry, bool) or not isinstance(retry, int):
            raise ValueError(f"retry must be a number of retries or a Retry, not {retry!r}")
        if not 0 <= retry <= MAX_RETRIES:
            raise ValueError(f"retry must be 0 to {MAX_RETRIES:,}, not {retry!r}")
        return cls(max_attempts=retry + 1)


_ONCE = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class StepOptions:
    """`retries` is the number that was given, `has_delays` whether a `Retry` was: a target has its own of both."""

    retry: Retry
    timeout_seconds: float | None
    retries: int | None = None
    has_delays: bool = False

    @classmethod
    def of(cls, retry: Retry | int | None, timeout: Duration | None) -> StepOptions:
        chosen = Retry.of(retry)
        retries = None if retry is None else chosen.max_attempts - 1
        return cls(chosen, None if timeout is None else seconds(timeout), retries, isinstance(retry, Retry))


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    message: str = ""
    approvers: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, message: object, approvers: object, schema: object) -> ApprovalRequest:
        """Raises ValueError naming the argument."""
        text = text_given("message", message)
        if schema is not None and not isinstance(schema, Mapping):
            raise ValueError(f"schema must be a JSON Schema as a dict, not {schema!r}")
        try:
            dumps(None if schema is None else dict(schema))
        except NotJson as error:
            raise ValueError(f"schema is not JSON: {error}") from None
        return cls(text, approvers_given(approvers), schema)


class Operations(Protocol):
    """What executes a workflow. Each call takes its place in the record at once; awaiting it does the work."""

    def step(self, name: str, call: Callable[[], Any], options: StepOptions) -> Coroutine[Any, Any, Any]: ...

    def run(
        self, name: str, target: str, documents: Mapping[str, Any], options: StepOptions
    ) -> Coroutine[Any, Any, Any]: ...

    def parallel(
        self, name: str, branches: Sequence[Awaitable[Any]], strategy: Strategy, concurrency: int | None
    ) -> Coroutine[Any, Any, Any]: ...

    def map(
        self,
        name: str,
        begin: Callable[[str, Any], Awaitable[Any]],
        items: Sequence[Any],
        strategy: Strategy,
        concurrency: int | None,
    ) -> Coroutine[Any, Any, Any]: ...

    def sleep(self, name: str, duration_seconds: float) -> Coroutine[Any, Any, None]: ...

    def wait_for_signal(self, name: str, signal: str, timeout_seconds: float | None) -> Coroutine[Any, Any, Any]: ...

    def wait_for_approval(
        self, name: str, request: ApprovalRequest, timeout_seconds: float | None
    ) -> Coroutine[Any, Any, Approval]: ...

    def skip(self, name: str, reason: str) -> Coroutine[Any, Any, None]: ...

    def on_failure(self, name: str, call: Callable[[], Any]) -> None: ...

    def value(self, name: str) -> Any: ...

    def emit(self, event_type: str, payload: Mapping[str, Any]) -> None: ...

    def unordered(self) -> None:
        """For code whose names are unique and whose tasks come in any order: they share one scope."""
        ...


class WorkflowContext:
    """`input` and `config` are native JSON values, None when the run has none.

    `scheduled_for` is the occurrence of a schedule that the run was made for, as RFC 3339, or empty.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        run_id: str,
        project: str,
        target: str,
        attempt: int,
        input: Any,
        config: Any,
        address: str,
        scheduled_for: str = "",
    ) -> None:
        self._operations = operations
        self.run_id = run_id
        self.project = project
        self.target = target
        self.attempt = attempt
        self.input = input
        self.config = config
        self.address = address
        self.scheduled_for = scheduled_for

    def __repr__(self) -> str:
        return f"<WorkflowContext of {self.target}, run {self.run_id}>"

    @property
    def operations(self) -> Operations:
        """For what is built upon this context, such as the steps of `runs.toml`."""
        return self._operations

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Call `function` (`def` or `async def`) once and for all; its result, as JSON, is recorded.

        `retry` is how many attempts may follow a failed one, or a `Retry`; `timeout` is for each attempt.
        Raises StepFailed when the last attempt failed.
        """
        options = StepOptions.of(retry, timeout)
        return self._operations.step(named(name), _Call(function_given(function), args, kwargs), options)

    def run(
        self,
        target: str,
        *,
        input: Any = None,
        config: Any = None,
        name: str | None = None,
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Execute a target as a run below this one, and give its output. The step's name is the target's id.

        `retry` and `timeout` (of each attempt; 0 is none) are the child's instead of its target's. Raises StepFailed
        when the child failed or was cancelled.
        """
        if not isinstance(target, str):
            raise ValueError(f"{target!r} is no target; write 'task:<id>' or 'workflow:<id>'")
        chosen = name if name is not None else (target.partition(":")[2] or target).replace("/", ".")
        documents = {"input": input, "config": config}
        return self._operations.run(named(chosen), target, documents, StepOptions.of(retry, timeout))

    def map(
        self,
        name: str,
        function: Callable[[Any], Any] | str,
        items: Iterable[Any],
        *,
        configs: Iterable[Any] | None = None,
        concurrency: int | None = None,
        strategy: Strategy = "all",
        retry: Retry | int | None = None,
        timeout: Duration | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """A step for each item, at most `concurrency` at a time; results in the order of the items.

        `function` is called with an item, or is a target, executed with the item as its input and, where
        `configs` has one for each item, that as its config. `strategy` is as in `parallel`.
        """
        options = StepOptions.of(retry, timeout)
        if not isinstance(function, str):
            function_given(function)
        inputs = items_given(name, items)
        if configs is not None and not isinstance(function, str):
            raise ValueError("configs are for targets; a function takes all it needs in its item")
        pairs = list(zip(inputs, configs_given(name, configs, len(inputs)), strict=True))
        check_race(name, strategy, len(inputs))

        def begin(step_name: str, pair: tuple[Any, Any]) -> Coroutine[Any, Any, Any]:
            item, config = pair
            if isinstance(function, str):
                return self._operations.run(step_name, function, {"input": item, "config": config}, options)
            return self._operations.step(step_name, _Call(function, (item,), {}), options)

        return self._operations.map(named(name), begin, pairs, strategy_given(strategy), limit_given(concurrency))

    def parallel(
        self,
        *branches: Awaitable[Any],
        strategy: Strategy = "all",
        concurrency: int | None = None,
        name: str = "parallel",
    ) -> Coroutine[Any, Any, Any]:
        """Await operations of this context, or coroutines that use it, side by side.

        `all`: the results in order; the first failure cancels the others. `race`: the first result; the
        others are cancelled. `all_settled`: a `Settled` for each.
        """
        for branch in branches:
            if not isinstance(branch, Awaitable):
                raise ValueError(f"a branch of {name!r} is {branch!r}; give ctx.step(…) or another awaitable")
        check_race(name, strategy, len(branches))
        return self._operations.parallel(named(name), branches, strategy_given(strategy), limit_given(concurrency))

    def sleep(self, duration: Duration, *, name: str = "sleep") -> Coroutine[Any, Any, None]:
        """Pause the run. It holds no memory meanwhile, and goes on in time after a restart."""
        return self._operations.sleep(named(name), seconds(duration))

    def wait_for_signal(
        self, name: str, *, timeout: Duration | None = None, step: str | None = None
    ) -> Coroutine[Any, Any, Any]:
        """The payload of the next signal of this name, also of one that came before. Raises WaitTimeout.

        The step's name is the signal's, unless `step` is another.
        """
        chosen = name if step is None else step
        return self._operations.wait_for_signal(
            named(chosen), named(name), None if timeout is None else seconds(timeout)
        )

    def wait_for_approval(
        self,
        name: str,
        *,
        message: str = "",
        approvers: Iterable[str] | None = None,
        timeout: Duration | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Coroutine[Any, Any, Approval]:
        """The decision, once somebody approves. Raises ApprovalRejected or WaitTimeout.

        `approvers`: only these may decide; nobody named is anybody. `schema`: of the structured answer.
        """
        request = ApprovalRequest.of(message, approvers, schema)
        limit = None if timeout is None else seconds(timeout)
        return self._operations.wait_for_approval(named(name), request, limit)

    def skip(self, name: str, reason: str = "") -> Coroutine[Any, Any, None]:
        """Record that a step is left out, for whoever looks at the run."""
        return self._operations.skip(named(name), text_given("reason", reason))

    def on_failure(self, function: Callable[..., Any], /, *args: Any, name: str | None = None) -> None:
        """Call `function` if the run fails for good or is cancelled: the latest first, each a step of its own."""
        chosen = name if name is not None else getattr(function, "__name__", "compensate")
        self._operations.on_failure(named(chosen), _Call(function_given(function), args, {}))

    def emit(self, event_type: str, payload: Mapping[str, Any] | None = None) -> None:
        """Add an event to the run's log: a dotted name such as `draft.ready`, and a JSON object."""
        self._operations.emit(event_type, {} if payload is None else payload)

    def log(self, text: str) -> None:
        """Add a line to the run's log."""
        if not isinstance(text, str):
            raise ValueError(f"a line of the log must be text, not {text!r}")
        line = text if text.endswith("\n") else f"{text}\n"
        self._operations.emit("log", {"stream": "stdout", "text": line})

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the run is: 0 to 1."""
        self._operations.emit("progress", {"fraction": fraction, "message": message})

    def now(self) -> datetime:
        """The time, recorded: the same whenever this place is passed again."""
        return datetime.fromisoformat(self._operations.value("now"))

    def random(self) -> float:
        """A number from 0 to 1, recorded."""
        return float(self._operations.value("random"))

    def uuid(self) -> UUID:
        """A random UUID, recorded."""
        return UUID(self._operations.value("uuid"))


# `inspect.CO_COROUTINE`, without `inspect`, which takes long to import.
_CO_COROUTINE = 0x80


@dataclass(frozen=True, slots=True)
class _Call:
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    @property
    def is_coroutine(self) -> bool:
        # Of a plain function, which most are, its code tells: to look through all that can wrap one takes longer.
        code = getattr(self.function, "__code__", None)
        if code is not None and code.co_flags & _CO_COROUTINE:
            return True
        from inspect import iscoroutinefunction

        return iscoroutinefunction(self.function) or iscoroutinefunction(getattr(self.function, "__call__", None))
