"""Where a workflow's operations stand in its record, and whether it still goes by it. Pure.

Steps are named by where they are called: the scope (`""`, or a branch's prefix such as `parallel[0]/`),
the name, and a number where the name comes again in the scope. Inside a scope calls come one after the
other, so the same code asks for the same ids in the same order, whatever the timing between branches.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from runsd.model.steps import History, Step, StepKind

VALUE_PREFIX = "~"
# The scope of what undoes the steps of a workflow that failed.
COMPENSATIONS = f"{VALUE_PREFIX}on_failure/"


# Their detail is the target, or the signal, that the definition names.
_OF_DETAIL = (StepKind.RUN, StepKind.SIGNAL)


class Nondeterministic(Exception):
    """The definition no longer does what its record says it did."""


@dataclass(slots=True)
class Scope:
    """`is_past`: everything in here had ended when the workflow was last left.

    `is_ordered` is False where names are unique and calls may come in any order, from any task.
    """

    prefix: str = ""
    is_past: bool = False
    is_ordered: bool = True
    names: dict[str, int] = field(default_factory=dict)
    branches: int = 0
    # Events emitted in here: all, and those since the last step.
    emitted: int = 0
    emitted_last: int = 0

    def next_id(self, name: str) -> str:
        count = self.names[name] = self.names.get(name, 0) + 1
        return f"{self.prefix}{name}" if count == 1 else f"{self.prefix}{name}#{count}"

    def next_branch(self) -> Scope:
        """Of a task that the workflow's own code makes."""
        if not self.is_ordered:
            return self
        self.branches += 1
        return Scope(f"{self.prefix}{VALUE_PREFIX}{self.branches}/", self.is_past)

    def inside(self, step_id: str, is_past: bool) -> Scope:
        return Scope(f"{step_id}/", self.is_past or is_past)

    def beside(self, is_past: bool) -> Scope:
        """Of a task whose one step has its place in this scope."""
        return Scope(self.prefix, self.is_past or is_past)


def scope_of(step_id: str) -> str:
    return step_id[: step_id.rfind("/") + 1]


class Replay:
    def __init__(self, history: History) -> None:
        self._steps = history.steps
        self._not_called: dict[str, dict[str, None]] = {}
        for step in history.steps.values():
            # An item of a map is called with its map.
            if step.kind is not StepKind.VALUE and step.is_expected and not step.step_id.endswith("]"):
                self._not_called.setdefault(scope_of(step.step_id), {})[step.step_id] = None

    def call(self, step_id: str, kind: StepKind, detail: str = "") -> Step | None:
        """What is recorded of a step that is called now. Raises Nondeterministic."""
        self._not_called.get(scope_of(step_id), {}).pop(step_id, None)
        recorded = self._steps.get(step_id)
        if recorded is None:
            return None
        if recorded.kind is not kind:
            raise Nondeterministic(
                f"at step {step_id!r} a {recorded.kind.value} step is recorded, and a {kind.value} step was found"
            )
        if kind in _OF_DETAIL and recorded.detail and recorded.detail != detail:
            raise Nondeterministic(f"at step {step_id!r} {recorded.detail} is recorded, and {detail} was found")
        return recorded

    def check_new(self, step_id: str, called_in: Scope, begun_in: Scope) -> None:
        """To be asked before a step that is not recorded begins. Raises Nondeterministic."""
        if begun_in.is_past:
            branch = step_id if step_id.endswith("]") else begun_in.prefix
            around = branch.rpartition("[")[0] or branch.rstrip("/")
            raise Nondeterministic(f"{around!r} is recorded as ended without it, and step {step_id!r} was found")
        # Called in one task and awaited in another, it may begin late: its scope has gone on meanwhile.
        expected = self._next(scope_of(step_id)) if called_in is begun_in and not step_id.endswith("]") else None
        if expected is not None:
            raise Nondeterministic(f"step {expected!r} is recorded next, and step {step_id!r} was found")

    def check_end(self) -> None:
        """To be asked when the workflow has returned. Raises Nondeterministic."""
        expected = self._next("")
        if expected is not None:
            raise Nondeterministic(f"step {expected!r} is recorded next, and the workflow ended without it")

    def is_replaying(self, scope: Scope) -> bool:
        """Whether what is done here now was done before."""
        return scope.is_past or self._next(scope.prefix) is not None

    def _next(self, prefix: str) -> str | None:
        return next(iter(self._not_called.get(prefix, ())), None)


def check_version(recorded: str | None, now: str) -> None:
    """Raises Nondeterministic. None: nothing has been executed yet."""
    if recorded is not None and recorded != now:
        raise Nondeterministic(f"it began with version {recorded!r}, and its definition has version {now!r} now")
