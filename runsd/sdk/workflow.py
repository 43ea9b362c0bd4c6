"""What a workflow's function is given: durable steps, waits and children.

The function is executed again from its start whenever its run goes on after a pause or a crash; calls
of this context answer from the record as far as it reaches. So whatever touches the world belongs into
a step, and branches and loops may depend only on what this context gave. An operation counts when it is
awaited; its place in the record is where it was called. One that never is fails the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from runsd.sdk.arguments import (
    Strategy,
    check_race,
    configs_given,
    function_given,
    items_given,
    limit_given,
    named,
    strategy_given,
    text_given,
)
from runsd.sdk.durations import seconds
from runsd.sdk.step_options import ApprovalRequest, Duration, Retry, StepOptions
from runsd.sdk.step_outcomes import Approval


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
