"""`[[workflows."<id>".steps]]` to the steps of a pipeline, each by itself; how they depend on each other is
`runsd.definitions.step_graph`'s to check."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from runsd.definitions.expressions import Expression
from runsd.definitions.origin import Origin, SchemaOrPath, Wrong, schema_of
from runsd.definitions.retries import Duration, Retries, Seconds, retry_policy
from runsd.definitions.templates import bare, expressions
from runsd.model.pipelines import Action, AwaitApproval, AwaitSignal, Pause, PipelineStep, RunTarget, Strategy
from runsd.model.tables import Range, decode, nearest
from runsd.model.targets import Problem, RunKind, is_valid_id
from runsd.sdk.durations import seconds

ALWAYS = frozenset({"input", "config", "steps", "run"})
OF_AN_ITEM = ALWAYS | {"item", "index"}
MAX_STEPS = 10_000
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_ACTIONS = ("task", "workflow", "wait", "sleep")
_OF_RUNS = ("input", "config", "retry", "for_each")
_OF_MAPS = ("concurrency", "strategy")


@dataclass(frozen=True, slots=True)
class WaitTable:
    approval: str | None = None
    approvers: tuple[str, ...] | None = None
    schema: SchemaOrPath = None
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class StepTable:
    id: str
    task: str | None = None
    workflow: str | None = None
    wait: WaitTable | None = None
    sleep: str | Seconds | None = None
    needs: tuple[str, ...] | None = None
    input: Any = None
    config: Any = None
    when: str | None = None
    for_each: str | None = None
    concurrency: Annotated[int, Range(1, 1_000_000)] | None = None
    strategy: Strategy = Strategy.ALL
    retry: Retries | None = None
    timeout: Duration | None = None


@dataclass(frozen=True, slots=True)
class DeclaredStep:
    """A step with where it stands, and the expressions in it with their keys."""

    step: PipelineStep
    origin: Origin
    expressions: tuple[tuple[str, Expression], ...]


def steps_from_tables(tables: object, origin: Origin, problems: list[Problem]) -> list[DeclaredStep]:
    """Those that are sound by themselves; what is wrong with the others is added to `problems`."""
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        problems.append(origin.problem("steps", 'expected [[workflows."<id>".steps]], a table for each step'))
        return []
    if not 1 <= len(tables) <= MAX_STEPS:
        problems.append(origin.problem("steps", f"a workflow has 1 to {MAX_STEPS:,} steps, not {len(tables):,}"))
        return []
    found: list[DeclaredStep] = []
    taken: set[str] = set()
    above: tuple[str, ...] = ()
    for index, table in enumerate(tables):
        id = table.get("id")
        place = _place(origin, id, index, taken)
        if isinstance(id, str) and id in taken:
            problems.append(place.problem("id", f"there is a step {id!r} already; ids are given once"))
            continue
        step = _step(table, place, above, problems)
        if step is not None:
            found.append(step)
        if isinstance(id, str):
            taken.add(id)
            above = (id,)
    return found


def _place(origin: Origin, id: object, index: int, taken: set[str]) -> Origin:
    """Named by the step's id where it has one of its own."""
    usable = isinstance(id, str) and _ID.fullmatch(id) is not None and id not in taken
    return replace(origin, key=f"{origin.key}.steps.{id}" if usable else f"{origin.key}.steps[{index}]")


def _step(
    table: Mapping[str, object], place: Origin, above: tuple[str, ...], problems: list[Problem]
) -> DeclaredStep | None:
    decoded = decode(StepTable, table, file=place.file, key=place.key)
    found = list(decoded.problems)
    step = decoded.value
    if step is not None:
        try:
            made = _made(step, table, place, above)
            used = tuple(_expressions(made, place, found))
        except Wrong as wrong:
            problem = place.problem(wrong.key, str(wrong))
            if all(known.key != problem.key for known in found):
                found.append(problem)
    problems.extend(found)
    return DeclaredStep(made, place, used) if step is not None and not found else None


def _made(step: StepTable, raw: Mapping[str, object], place: Origin, above: tuple[str, ...]) -> PipelineStep:
    if not _ID.fullmatch(step.id):
        raise Wrong("id", f"{step.id!r} is no step id; write letters, digits, _ and -, no digit first, 100 at most")
    action = _action(step, raw, place)
    _refuse_unsuited(action, raw)
    return PipelineStep(
        id=step.id,
        action=action,
        needs=above if step.needs is None else tuple(dict.fromkeys(step.needs)),
        when=_bare("when", step.when),
        for_each=_bare("for_each", step.for_each),
        concurrency=step.concurrency,
        strategy=step.strategy,
        retry=retry_policy(step.retry),
        timeout_seconds=step.timeout,
    )


def _action(step: StepTable, raw: Mapping[str, object], place: Origin) -> Action:
    given = [key for key in _ACTIONS if key in raw]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "found none"
        raise Wrong("", f"expected exactly one of {', '.join(_ACTIONS)}, {found}")
    if step.task is not None:
        return RunTarget(_target(RunKind.TASK, step.task), _input(step), step.config)
    if step.workflow is not None:
        return RunTarget(_target(RunKind.WORKFLOW, step.workflow), _input(step), step.config)
    if step.wait is not None:
        return _wait(step.wait, place)
    return Pause(_pause(step.sleep))


def _input(step: StepTable) -> Any:
    return "${item}" if step.input is None and step.for_each is not None else step.input


def _target(kind: RunKind, text: str) -> str:
    id = text.removeprefix(f"{kind.value}:")
    if not is_valid_id(id):
        raise Wrong(kind.value, f"{text!r} is no {kind.value}; write its id, such as 'sync-data'")
    return f"{kind.value}:{id}"


def _wait(wait: WaitTable, place: Origin) -> Action:
    if (wait.approval is None) == (wait.signal is None):
        raise Wrong("wait", "expected approval (the message to whoever decides) or signal (its name), and not both")
    if wait.signal is None:
        try:
            schema = schema_of(wait.schema, place.directory)
        except ValueError as error:
            raise Wrong("wait.schema", str(error)) from None
        if wait.approvers is not None and not (wait.approvers and all(wait.approvers)):
            raise Wrong("wait.approvers", "expected one or more names; leave it out for anybody")
        return AwaitApproval(wait.approval or "", wait.approvers or (), schema)
    if not is_valid_id(wait.signal) or "/" in wait.signal:
        raise Wrong("wait.signal", f"{wait.signal!r} is no name; write letters, digits, _, . and -")
    if wait.approvers is not None or wait.schema is not None:
        raise Wrong("wait", "approvers and schema are of an approval, not of a signal")
    return AwaitSignal(wait.signal)


def _pause(given: str | float | None) -> float | str:
    """A template stays one until the step begins."""
    if isinstance(given, str) and "${" in given:
        return given
    try:
        return seconds(given if given is not None else "")
    except ValueError as error:
        raise Wrong("sleep", str(error)) from None


def _refuse_unsuited(action: Action, raw: Mapping[str, object]) -> None:
    """Keys that would have no effect."""
    for key in _OF_RUNS:
        if key in raw and not isinstance(action, RunTarget):
            raise Wrong(key, "is for steps with task or workflow; leave it out")
    for key in _OF_MAPS:
        if key in raw and "for_each" not in raw:
            raise Wrong(key, "is for steps with for_each; leave it out")
    if "timeout" in raw and isinstance(action, Pause):
        raise Wrong("timeout", "is not for steps with sleep; leave it out")


def _bare(key: str, text: str | None) -> str:
    if text is None:
        return ""
    expression = bare(text)
    if not expression.strip():
        raise Wrong(key, "expected an expression; it is empty")
    return expression


def _expressions(step: PipelineStep, place: Origin, problems: list[Problem]) -> Iterator[tuple[str, Expression]]:
    for key, template, variables in _templates(step):
        yield from checked_expressions(key, template, variables, place, problems)


def checked_expressions(
    key: str, template: Any, variables: frozenset[str], place: Origin, problems: list[Problem]
) -> Iterator[tuple[str, Expression]]:
    for where, found in expressions(template, key):
        if not isinstance(found, Expression):
            problems.append(Problem(place.file, f"{place.key}.{where}", f"{found}"))
            continue
        for unknown in sorted(found.variables - variables):
            near = nearest(unknown, variables, "variables")
            message = f"${{{found.source}}}: there is no variable {unknown!r} here; {near}"
            problems.append(Problem(place.file, f"{place.key}.{where}", message))
        yield where, found


def _templates(step: PipelineStep) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Each template of a step, with its key and the variables that it may use."""
    for key in ("when", "for_each"):
        if source := getattr(step, key):
            yield key, f"${{{source}}}", ALWAYS
    action = step.action
    if isinstance(action, RunTarget):
        variables = OF_AN_ITEM if step.for_each else ALWAYS
        yield "input", action.input, variables
        yield "config", action.config, variables
    elif isinstance(action, AwaitApproval):
        yield "wait.approval", action.message, ALWAYS
        yield "wait.approvers", action.approvers, ALWAYS
    elif isinstance(action, Pause):
        yield "sleep", action.duration, ALWAYS
