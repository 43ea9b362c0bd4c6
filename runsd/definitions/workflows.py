"""One workflow, from its table in `runs.toml` or its decorator, to a `Definition`.

Whatever is wrong stays with the definition, as problems; nothing here raises for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from runsd.definitions.origin import (
    Origin,
    SchemaOrPath,
    Schemas,
    Wrong,
    faults_of_id,
    python_callable,
    with_problem,
)
from runsd.definitions.retries import Duration, Retries, retry_policy
from runsd.definitions.step_graph import problems_of_graph, unknown_step
from runsd.definitions.steps import ALWAYS, checked_expressions, steps_from_tables
from runsd.model.pipelines import Pipeline, RetryPolicy, RunTarget
from runsd.model.tables import Range, decode, nearest
from runsd.model.targets import (
    AdapterKind,
    Definition,
    OnInterrupt,
    Problem,
    PythonCallable,
    RunKind,
    Target,
)

_HOOKS = ("on_error", "on_complete")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """What a decorator and a table have in common."""

    name: str = ""
    description: str = ""
    version: str = ""
    timeout: Duration = 0.0
    retry: Retries | None = None
    on_error: str = ""
    on_complete: str = ""
    max_concurrent: Annotated[int, Range(0, 1_000_000)] = 0
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    input_schema: SchemaOrPath = None
    config_schema: SchemaOrPath = None
    output_schema: SchemaOrPath = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTable(WorkflowOptions):
    """`[workflows."<id>"]`; either `python` or `steps` says what is executed, `output` belongs to steps."""

    python: str | None = None
    steps: Any = None
    output: Any = None


def workflow_from_table(id: str, raw: object, origin: Origin) -> Definition:
    if not isinstance(raw, Mapping):
        problem = origin.problem("", "expected a table with python or steps")
        return _definition(id, None, WorkflowOptions(), origin, [problem])
    decoded = decode(WorkflowTable, raw, file=origin.file, key=origin.key)
    table = decoded.value or WorkflowTable()
    problems = list(decoded.problems)
    program: PythonCallable | Pipeline | None = None
    try:
        program = _program(table, raw, origin, problems)
    except Wrong as wrong:
        problems.append(origin.problem(wrong.key, str(wrong)))
    return _definition(id, program, table, origin, problems)


def workflow_from_decorator(
    id: str, program: PythonCallable, options: Mapping[str, object], faults: Mapping[str, str], origin: Origin
) -> Definition:
    decoded = decode(WorkflowOptions, options, file=origin.file, key=origin.key)
    of_values = [origin.problem(name, f"is not JSON: {fault}") for name, fault in faults.items()]
    return _definition(id, program, decoded.value or WorkflowOptions(), origin, [*of_values, *decoded.problems])


def with_targets_checked(definition: Definition, targets: Mapping[str, object], origin: Origin) -> Definition:
    """What the workflow executes has to be in the project."""
    for key, target in _targets(definition):
        message = ""
        if target not in targets:
            message = f"the project has no {target}; {nearest(target, targets, 'targets')}"
        elif key in _HOOKS and target == str(definition.target):
            message = "a workflow cannot follow itself; name another target"
        if message:
            definition = with_problem(definition, Problem(origin.file, f"{origin.key}.{key}", message))
    for id in _endless_steps(definition):
        message = "the workflow executes itself without end; give the step a condition with when"
        definition = with_problem(definition, Problem(origin.file, f"{origin.key}.steps.{id}.workflow", message))
    return definition


def _endless_steps(definition: Definition) -> Iterator[str]:
    """`for_each` ends at an empty list."""
    if isinstance(definition.program, Pipeline):
        for step in definition.program.steps:
            is_itself = isinstance(step.action, RunTarget) and step.action.target == str(definition.target)
            if is_itself and not step.when and not step.for_each:
                yield step.id


def _targets(definition: Definition) -> Iterator[tuple[str, str]]:
    for key in _HOOKS:
        if target := getattr(definition, key):
            yield key, target
    if isinstance(definition.program, Pipeline):
        for step in definition.program.steps:
            if isinstance(step.action, RunTarget):
                yield f"steps.{step.id}.{step.action.target.partition(':')[0]}", step.action.target


def _program(
    table: WorkflowTable, raw: Mapping[str, object], origin: Origin, problems: list[Problem]
) -> PythonCallable | Pipeline | None:
    """None when the one that is given has been found at fault."""
    given = [key for key in ("python", "steps") if key in raw]
    if len(given) != 1:
        raise Wrong("", f"expected either python or steps, found {' and '.join(given) or 'none'}")
    if "steps" in raw:
        return _pipeline(table, origin, problems)
    if "output" in raw:
        raise Wrong("output", "is for workflows with steps; a Python function returns its output")
    return None if table.python is None else python_callable(table.python)


def _pipeline(table: WorkflowTable, origin: Origin, problems: list[Problem]) -> Pipeline | None:
    found: list[Problem] = []
    steps = steps_from_tables(table.steps, origin, found)
    tables = table.steps if isinstance(table.steps, list) else []
    declared = [t["id"] for t in tables if isinstance(t, Mapping) and isinstance(t.get("id"), str)]
    found.extend(problems_of_graph(steps, declared))
    for key, expression in checked_expressions("output", table.output, ALWAYS, origin, found):
        for unknown in sorted(expression.steps - set(declared)):
            message = f"${{{expression.source}}}: {unknown_step(unknown, declared)}"
            found.append(Problem(origin.file, f"{origin.key}.{key}", message))
    problems.extend(found)
    return None if found else Pipeline(tuple(declared_step.step for declared_step in steps), table.output)


def _definition(
    id: str,
    program: PythonCallable | Pipeline | None,
    options: WorkflowOptions,
    origin: Origin,
    problems: list[Problem],
) -> Definition:
    schemas = Schemas.of(options, origin, problems)
    problems.extend(faults_of_id(id, origin))
    hooks = {key: _hook(key, getattr(options, key), origin, problems) for key in _HOOKS}
    policy = _policy(options, origin, problems)
    return Definition(
        target=Target(RunKind.WORKFLOW, id),
        program=program,
        source=origin.source,
        working_directory=origin.directory,
        name=options.name,
        description=options.description,
        adapter=AdapterKind.WORKFLOW,
        timeout_seconds=options.timeout,
        backoff_limit=policy.max_attempts - 1 if policy is not None else 0,
        max_concurrent=options.max_concurrent,
        on_interrupt=options.on_interrupt,
        version=options.version,
        retry=policy.settings if policy is not None and policy.has_delays else None,
        on_error=hooks["on_error"],
        on_complete=hooks["on_complete"],
        input_schema=schemas.input,
        config_schema=schemas.config,
        output_schema=schemas.output,
        problems=tuple(problems),
    )


def _policy(options: WorkflowOptions, origin: Origin, problems: list[Problem]) -> RetryPolicy | None:
    try:
        return retry_policy(options.retry)
    except Wrong as wrong:
        problems.append(origin.problem(wrong.key, str(wrong)))
        return None


def _hook(key: str, text: str, origin: Origin, problems: list[Problem]) -> str:
    try:
        return str(Target.parse(text)) if text else ""
    except ValueError as error:
        problems.append(origin.problem(key, str(error)))
        return ""
