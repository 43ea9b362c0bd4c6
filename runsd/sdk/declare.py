"""The `task` decorator. It declares and changes nothing: a declared function is called as before.

Values are checked when the project is loaded, with those of `runs.toml`, so that a mistake is
reported there and does not stop the module from being imported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar, overload

    Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__runsd_task__"


class TaskDeclaration:
    """What `@task` was given: the id, and those options that were set, by their `runs.toml` names."""

    __slots__ = ("id", "options")

    def __init__(self, id: str, options: dict[str, object]) -> None:
        self.id = id
        self.options = options

    def __repr__(self) -> str:
        return f"TaskDeclaration({self.id!r}, {self.options!r})"


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

else:  # without `typing`, whose import costs as much as the rest of this package

    def task(id=None, /, **options):
        """Declare a `def` or `async def` that takes one Context as a task of the project.

        `@task` and `@task()` take the function's name for the id, with `-` for `_`; `@task("reports/weekly")`
        sets it. The options are those of a task in `runs.toml`.
        """
        if callable(id):
            return _declare(id, None, {})
        given = {key: value for key, value in options.items() if value is not None}
        return lambda function: _declare(function, id, given)


def _declare(function: Any, id: str | None, options: dict[str, object]) -> Any:
    chosen = function.__name__.replace("_", "-") if id is None else id
    setattr(function, ATTRIBUTE, TaskDeclaration(chosen, options))
    return function
