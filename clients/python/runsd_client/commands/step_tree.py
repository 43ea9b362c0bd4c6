"""The steps of a workflow run as a tree: a line a step, and a line for what went wrong with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from runsd_client.commands.event_text import describe_error
from runsd_client.commands.terminal import Screen
from runsd_client.commands.times import age, duration, milliseconds_between
from runsd_client.values import Step, StepKind, StepState, rfc3339

STATE_STYLES = {
    StepState.PENDING: "yellow",
    StepState.RUNNING: "blue",
    StepState.WAITING: "magenta",
    StepState.COMPLETED: "green",
    StepState.FAILED: "red",
    StepState.SKIPPED: "dim",
    StepState.CANCELLED: "yellow",
}
_TAKES_TIME = frozenset({StepState.RUNNING, StepState.WAITING})


@dataclass(frozen=True, slots=True)
class _Guides:
    """What stands before a step and before what is below it, where others of its level follow and where not."""

    step: str
    last_step: str
    below: str
    below_last: str


_DRAWN = _Guides("├─", "└─", "│  ", "   ")
_INDENTED = _Guides(" ", " ", "  ", "  ")


@dataclass(frozen=True, slots=True)
class _Placed:
    """`guide` stands before the step's line, `below` before what is under it."""

    step: Step
    guide: str
    below: str


def show_step_tree(screen: Screen, steps: Sequence[Step], *, truncated: bool) -> None:
    """Drawn on a terminal, indented elsewhere. A line with an id to be copied is not cut."""
    screen.line((f"steps (the first {len(steps)} of them)" if truncated else "steps", "bold"))
    now = datetime.now(UTC)
    for placed in _placed(steps, _DRAWN if screen.is_terminal else _INDENTED):
        step = placed.step
        screen.line(
            (placed.guide, "dim"),
            (_label(step), "bold"),
            (step.state, STATE_STYLES.get(step.state, "")),
            (" ".join(filter(None, _remarks(screen, step, now))), ""),
            cut=not step.child_run_id,
        )
        if step.error is not None:
            screen.line((f"{placed.below} ", "dim"), (describe_error(step.error.code, step.error.message), "red"))


def _placed(steps: Sequence[Step], guides: _Guides) -> Iterator[_Placed]:
    """Depth first; a step whose parent is not among them is at the top."""
    known = {step.step_id for step in steps}
    children: defaultdict[str, list[Step]] = defaultdict(list)
    for step in steps:
        children[step.parent_step_id if step.parent_step_id in known else ""].append(step)
    to_place = _level(children[""], "", guides)
    while to_place:
        placed = to_place.pop()
        yield placed
        to_place += _level(children[placed.step.step_id], placed.below, guides)


def _level(steps: Sequence[Step], indent: str, guides: _Guides) -> list[_Placed]:
    """The last one first, as a stack wants them."""
    level = [_Placed(step, indent + guides.step, indent + guides.below) for step in steps[:-1]]
    level += [_Placed(step, indent + guides.last_step, indent + guides.below_last) for step in steps[-1:]]
    return level[::-1]


def _label(step: Step) -> str:
    """The id without those of the steps around it."""
    inner = step.step_id.removeprefix(step.parent_step_id) if step.parent_step_id else step.step_id
    return inner.removeprefix("/") or step.name


def _remarks(screen: Screen, step: Step, now: datetime) -> Iterator[str]:
    if step.kind is not StepKind.FUNCTION and not step.child_run_id:
        yield step.kind
    yield _took(step, now)
    if step.attempt > 1:
        yield f"attempt {step.attempt}"
    if step.child_run_id:
        yield f"run {step.child_run_id}"
    if step.until is not None and not step.state.is_final:
        yield f"{'next at' if step.state is StepState.PENDING else 'until'} {_moment(screen, step.until, now)}"
    yield step.detail


def _took(step: Step, now: datetime) -> str:
    """How long the step took, or has taken until now."""
    if step.started_at is None:
        return ""
    end = step.completed_at or (now if step.state in _TAKES_TIME else None)
    return duration(milliseconds_between(step.started_at, end)) if end else ""


def _moment(screen: Screen, moment: datetime, now: datetime) -> str:
    if not screen.is_terminal:
        return rfc3339(moment)
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({age(moment, now)})"
