"""How the steps of a pipeline depend on each other: what they need is there, no step needs itself, and what
a step uses of another it also needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from runsd.definitions.steps import DeclaredStep
from runsd.model.pipelines import AwaitSignal
from runsd.model.tables import nearest
from runsd.model.targets import Problem

Needs = Mapping[str, tuple[str, ...]]


def problems_of_graph(steps: Sequence[DeclaredStep], ids: Sequence[str]) -> Iterator[Problem]:
    """`ids` are those of all steps, also of the ones that are at fault by themselves."""
    for step in steps:
        yield from _unknown_needs(step, ids)
    yield from _signals_taken(steps, ids)
    sound = {step.step.id for step in steps}
    needs = {step.step.id: tuple(need for need in step.step.needs if need in sound) for step in steps}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield _problem_of_cycle(steps, list(reversed(error.args[1])))
        return
    for step in steps:
        yield from _unmet_uses(step, needs, ids)


def unknown_step(id: str, ids: Sequence[str]) -> str:
    hyphened = next((known for known in ids if known.startswith(f"{id}-")), None)
    hint = f'write steps["{hyphened}"]' if hyphened is not None else nearest(id, ids, "steps")
    return f"there is no step {id!r}; {hint}"


def _unknown_needs(step: DeclaredStep, ids: Sequence[str]) -> Iterator[Problem]:
    for need in step.step.needs:
        if need not in ids:
            yield step.origin.problem("needs", f"there is no step {need!r}; {nearest(need, ids, 'steps')}")


def _signals_taken(steps: Sequence[DeclaredStep], ids: Sequence[str]) -> Iterator[Problem]:
    """A wait stands in the record under the name of its signal, which therefore is like a step's id."""
    waiting: dict[str, str] = {}
    for step in steps:
        action = step.step.action
        if not isinstance(action, AwaitSignal):
            continue
        other = waiting.setdefault(action.signal, step.step.id)
        if other != step.step.id:
            message = f"step {other!r} waits for {action.signal!r} already; give one of them another"
            yield step.origin.problem("wait", message)
        elif action.signal in ids and action.signal != step.step.id:
            yield step.origin.problem("wait", f"the signal {action.signal!r} is named like another step; rename one")


def _problem_of_cycle(steps: Sequence[DeclaredStep], cycle: list[str]) -> Problem:
    """`cycle` goes from a step along its needs back to it."""
    first = next(step for step in steps if step.step.id == cycle[0])
    if len(cycle) == 2:
        return first.origin.problem("needs", f"step {cycle[0]!r} needs itself")
    return first.origin.problem("needs", f"steps need each other in a circle: {' needs '.join(cycle)}")


def _unmet_uses(step: DeclaredStep, needs: Needs, ids: Sequence[str]) -> Iterator[Problem]:
    id = step.step.id
    for key, expression in step.expressions:
        for used in sorted(expression.steps):
            if used not in ids:
                message = unknown_step(used, ids)
            elif used == id:
                message = "a step cannot use its own output"
            elif used in needs and not _goes_before(used, id, needs):
                message = f"uses the output of {used!r}, which this step does not need; add it to needs"
            else:
                continue
            where = f"{step.origin.key}.{key}"
            yield Problem(step.origin.file, where, f"${{{expression.source}}}: {message}")


def _goes_before(earlier: str, later: str, needs: Needs) -> bool:
    waiting, seen = list(needs[later]), set(needs[later])
    while waiting:
        id = waiting.pop()
        if id == earlier:
            return True
        waiting.extend(new for new in needs[id] if new not in seen)
        seen.update(needs[id])
    return False
