"""The `task`, `workflow` and `schedule` decorators. They declare and change nothing: a function is called as before.

Values are checked when the project is loaded, with those of `runs.toml`, so that a mistake is
reported there and does not stop the module from being imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime, tzinfo
    from typing import Any, Literal, TypeVar, overload

    from runsd.sdk.step_options import Duration, Retry
    from runsd.sdk.workflow import WorkflowContext

    Function = TypeVar("Function", bound=Callable[..., Any])
    WorkflowFunction = TypeVar("WorkflowFunction", bound=Callable[[WorkflowContext, Any], Awaitable[Any]])

ATTRIBUTE = "__runsd_declarations__"


class Declaration:
    """What a decorator was given: the id, and those options that were set, by their `runs.toml` names.

    A schedule without an id takes that of its target, which another decorator of the function may give.
    """

    __slots__ = ("id", "kind", "options")

    def __init__(self, kind: str, id: str | None, options: dict[str, object]) -> None:
        self.kind = kind
        self.id = id
        self.options = options

    def __repr__(self) -> str:
        return f"Declaration({self.kind!r}, {self.id!r}, {self.options!r})"


if TYPE_CHECKING:

    @overload
    def task(id: Function, /) -> Function: ...

    @overload
    def task(
        id: str | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        adapter: str | None = None,
        timeout_seconds: float | None = None,
        backoff_limit: int | None = None,
        max_concurrent: int | None = None,
        on_interrupt: str | None = None,
        env: Mapping[str, str] | None = None,
        env_allowlist: Sequence[str] | None = None,
        working_directory: str | None = None,
        input_schema: Mapping[str, Any] | str | None = None,
        config_schema: Mapping[str, Any] | str | None = None,
        output_schema: Mapping[str, Any] | str | None = None,
    ) -> Callable[[Function], Function]: ...

    def task(id: Any = None, /, **options: Any) -> Any: ...

    @overload
    def workflow(id: WorkflowFunction, /) -> WorkflowFunction: ...

    @overload
    def workflow(
        id: str | None = None,
        /,
        *,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        timeout: Duration | None = None,
        retry: Retry | int | Mapping[str, Any] | None = None,
        on_error: str | None = None,
        on_complete: str | None = None,
        max_concurrent: int | None = None,
        on_interrupt: str | None = None,
        input_schema: Mapping[str, Any] | str | None = None,
        config_schema: Mapping[str, Any] | str | None = None,
        output_schema: Mapping[str, Any] | str | None = None,
    ) -> Callable[[WorkflowFunction], WorkflowFunction]: ...

    def workflow(id: Any = None, /, **options: Any) -> Any: ...

    def schedule(
        id: str | None = None,
        /,
        *,
        target: str | None = None,
        cron: str | None = None,
        timezone: tzinfo | str | None = None,
        at: datetime | str | None = None,
        every: Duration | None = None,
        anchor: datetime | str | None = None,
        start_at: datetime | str | None = None,
        end_at: datetime | str | None = None,
        max_runs: int | None = None,
        jitter: Duration | None = None,
        name: str | None = None,
        description: str | None = None,
        input: Any = None,
        config: Any = None,
        metadata: Mapping[str, Any] | None = None,
        priority: int | None = None,
        timeout_seconds: Duration | None = None,
        backoff_limit: int | None = None,
        concurrency_policy: Literal["Allow", "Forbid", "Replace", "Queue"] | None = None,
        catch_up: Literal["none", "latest", "all"] | None = None,
        catch_up_window: Duration | None = None,
        max_staleness_seconds: Duration | None = None,
    ) -> Callable[[Function], Function]: ...

else:  # without `typing`, whose import costs as much as the rest of this package

    def task(id=None, /, **options):
        """Declare a `def` or `async def` that takes one Context as a task of the project.

        `@task` and `@task()` take the function's name for the id, with `-` for `_`; `@task("reports/weekly")`
        sets it. The options are those of a task in `runs.toml`.
        """
        return _decorator("task", id, options)

    def workflow(id=None, /, **options):
        """Declare an `async def` that takes a WorkflowContext and the run's input as a workflow of the project.

        The id is as in `task`; the options are those of a workflow in `runs.toml`. Durations are seconds,
        texts such as "10m", or timedeltas; `retry` is a number of retries, a Retry, or a table as in `runs.toml`.
        """
        return _decorator("workflow", id, options)

    def schedule(id=None, /, **options):
        """Declare when the task or workflow that the function is shall run, above or below that decorator.

        `@schedule(cron="30 2 * * *")` takes its id; `@schedule("nightly", …)` sets another, so that a function may
        have several. The options are those of a schedule in `runs.toml`; moments are datetimes with a time zone, or
        RFC 3339 texts; a time zone is its name or a ZoneInfo. `target` is needed only where the function is several
        tasks or workflows, or none.
        """
        return _decorator("schedule", id, options)


def _decorator(kind: str, id: Any, options: Mapping[str, object]) -> Any:
    if callable(id):
        return _declare(kind, id, None, {})
    given = {key: value for key, value in options.items() if value is not None}
    return lambda function: _declare(kind, function, id, given)


def _declare(kind: str, function: Any, id: str | None, options: dict[str, object]) -> Any:
    chosen = function.__name__.replace("_", "-") if id is None and kind != "schedule" else id
    # A function may be declared more than once, under different ids.
    earlier = getattr(function, ATTRIBUTE, ())
    setattr(function, ATTRIBUTE, (*earlier, Declaration(kind, chosen, options)))
    return function
