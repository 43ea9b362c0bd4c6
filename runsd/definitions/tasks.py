"""One task, from its table in `runs.toml` or its decorator, to a `Definition`.

Whatever is wrong stays with the definition, as problems; nothing here raises for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated

from runsd.definitions.origin import (
    Origin,
    SchemaOrPath,
    Schemas,
    Wrong,
    faults_of_id,
    python_callable,
)
from runsd.model.tables import Range, decode
from runsd.model.targets import (
    AdapterKind,
    Command,
    Definition,
    OnInterrupt,
    Problem,
    PythonCallable,
    RunKind,
    Target,
)

DAEMON_VARIABLES = "RUNSD_"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_INPROCESS = ("env", "env_allowlist", "working_directory")


class TaskAdapter(Enum):
    """Those that a task may choose."""

    SUBPROCESS = "subprocess"
    INPROCESS = "inprocess"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a decorator and a table have in common."""

    name: str = ""
    description: str = ""
    adapter: TaskAdapter = TaskAdapter.SUBPROCESS
    timeout_seconds: Annotated[float, Range(0, 1e9)] = 0.0
    backoff_limit: Annotated[int, Range(0, 1000)] = 0
    max_concurrent: Annotated[int, Range(0, 1_000_000)] = 0
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    env: Mapping[str, str] = field(default_factory=dict)
    env_allowlist: tuple[str, ...] = ()
    working_directory: Path | None = None
    input_schema: SchemaOrPath = None
    config_schema: SchemaOrPath = None
    output_schema: SchemaOrPath = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable(TaskOptions):
    """`[tasks."<id>"]`; exactly one of these three says what is executed."""

    command: tuple[str, ...] | None = None
    shell: str | None = None
    python: str | None = None


def task_from_table(id: str, raw: object, origin: Origin) -> Definition:
    if not isinstance(raw, Mapping):
        problem = origin.problem("", "expected a table with command, shell or python")
        return _definition(id, None, TaskOptions(), origin, [problem])
    decoded = decode(TaskTable, raw, file=origin.file, key=origin.key)
    table = decoded.value or TaskTable()
    problems = list(decoded.problems)
    program: Command | PythonCallable | None = None
    try:
        program = _program(table, raw)
    except Wrong as wrong:
        problems.append(origin.problem(wrong.key, str(wrong)))
    if table.adapter is TaskAdapter.INPROCESS and not isinstance(program, PythonCallable):
        problems.append(origin.problem("adapter", "'inprocess' is only for tasks with python"))
    return _definition(id, program, table, origin, problems)


def task_from_decorator(
    id: str, program: PythonCallable, options: Mapping[str, object], faults: Mapping[str, str], origin: Origin
) -> Definition:
    decoded = decode(TaskOptions, options, file=origin.file, key=origin.key)
    of_values = [origin.problem(name, f"is not JSON: {fault}") for name, fault in faults.items()]
    return _definition(id, program, decoded.value or TaskOptions(), origin, [*of_values, *decoded.problems])


def _program(table: TaskTable, raw: Mapping[str, object]) -> Command | PythonCallable | None:
    """None when the one that is given has been found at fault already."""
    given = [key for key in ("command", "shell", "python") if key in raw]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "found none"
        raise Wrong("", f"expected exactly one of command, shell and python, {found}")
    if table.command is not None:
        return _command(table.command)
    if table.shell is not None:
        return _shell(table.shell)
    return None if table.python is None else python_callable(table.python)


def _command(argv: tuple[str, ...]) -> Command:
    if not argv or not argv[0]:
        raise Wrong("command", "expected a program and its arguments, such as ['python3', 'sync.py']; it is empty")
    if any("\0" in argument for argument in argv):
        raise Wrong("command", "an argument holds a NUL character, which no program can be given")
    return Command(argv)


def _shell(text: str) -> Command:
    if not text.strip() or "\0" in text:
        raise Wrong("shell", "expected a command line for /bin/sh; it is empty or holds a NUL character")
    return Command(("/bin/sh", "-c", text))


def _definition(
    id: str,
    program: Command | PythonCallable | None,
    options: TaskOptions,
    origin: Origin,
    problems: list[Problem],
) -> Definition:
    schemas = Schemas.of(options, origin, problems)
    problems.extend(faults_of_id(id, origin))
    problems.extend(_faults_of_options(options, origin))
    return Definition(
        target=Target(RunKind.TASK, id),
        program=program,
        source=origin.source,
        working_directory=origin.directory / (options.working_directory or ""),
        name=options.name,
        description=options.description,
        adapter=AdapterKind(options.adapter.value),
        timeout_seconds=options.timeout_seconds,
        backoff_limit=options.backoff_limit,
        max_concurrent=options.max_concurrent,
        on_interrupt=options.on_interrupt,
        env=options.env,
        env_allowlist=options.env_allowlist,
        input_schema=schemas.input,
        config_schema=schemas.config,
        output_schema=schemas.output,
        problems=tuple(problems),
    )


def _faults_of_options(options: TaskOptions, origin: Origin) -> Iterator[Problem]:
    for name in options.env:
        if fault := _fault_of_variable(name, options.env[name]):
            yield origin.problem("env", fault)
    for name in options.env_allowlist:
        if fault := _fault_of_variable(name):
            yield origin.problem("env_allowlist", fault)
    directory = options.working_directory
    if directory is not None and not (origin.directory / directory).is_dir():
        yield origin.problem("working_directory", f"there is no directory {str(directory)!r} in the project")
    if options.adapter is TaskAdapter.INPROCESS:
        for key in _NOT_INPROCESS:
            if getattr(options, key):
                yield origin.problem(key, "has no effect on an inprocess task, which shares the daemon's; leave it out")


def _fault_of_variable(name: str, value: str = "") -> str:
    if name.startswith(DAEMON_VARIABLES):
        return f"{name}: the daemon's own variables are never passed on"
    if not _VARIABLE.fullmatch(name) or "\0" in value:
        return f"{name!r} is no variable that a process can be given: letters, digits and _, no digit first, no NUL"
    return ""
