"""Random workflows, of all that a workflow may do.

Branches fail and race so that what comes out does not depend on timing: at most one branch of a group may
fail it, one of a race may end.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from runsd.model.pipelines import AwaitApproval, AwaitSignal, Pause, Pipeline, PipelineStep, RunTarget, Strategy
from runsd.sdk.step_options import Retry
from runsd.sdk.step_outcomes import Settled, StepFailed
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import CHILD, NEVER, REJECT

UNDO = "undo"


@dataclass
class World:
    """What is outside the workflow: what was executed and undone, how often it failed, what values came."""

    failures: Counter[str] = field(default_factory=Counter)
    executed: list[str] = field(default_factory=list)
    to_undo: set[str] = field(default_factory=set)
    undone: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def execute_child(self, input: Any) -> Any:
        self.executed.append(input["key"])
        if input["fails"]:
            raise ValueError(f"child {input['key']} is no good")
        return {"key": input["key"]}


@dataclass
class Passage:
    """One execution of the program. `is_sure`: nothing is cancelled here, at a moment that nobody can foresee."""

    ctx: WorkflowContext
    world: World
    is_sure: bool = True

    def work(self, key: str, failures: int) -> Callable[[], Coroutine[Any, Any, Any]]:
        async def work() -> Any:
            self.world.executed.append(key)
            # The tasks of a step are not the workflow's.
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
            if self.world.failures[key] < failures:
                self.world.failures[key] += 1
                raise ValueError(f"{key} is no good")
            return {"key": key}

        return work

    def undo(self, key: str, is_broken: bool) -> None:
        def undo() -> None:
            self.world.undone.append(key)
            if is_broken:
                raise RuntimeError(f"{key} cannot be undone")

        self.world.to_undo.add(key)
        self.ctx.on_failure(undo, name=f"{UNDO}{key}")


class Node:
    """A piece of a program. `key` tells apart where it stands, also in loops."""

    async def execute(self, passage: Passage, key: str) -> Any:
        raise NotImplementedError


@dataclass
class Step(Node):
    failures: int
    retries: int

    async def execute(self, passage: Passage, key: str) -> Any:
        retry = Retry(max_attempts=self.retries + 1, initial_delay=0, max_delay=0)
        return await passage.ctx.step("step", passage.work(key, self.failures), retry=retry)


@dataclass
class Value(Node):
    async def execute(self, passage: Passage, key: str) -> Any:
        ctx = passage.ctx
        passage.world.values[key] = [ctx.now().isoformat(), ctx.random(), str(ctx.uuid())]
        return "values"


@dataclass
class Sleep(Node):
    async def execute(self, passage: Passage, key: str) -> Any:
        return await passage.ctx.sleep(0)


@dataclass
class Emit(Node):
    async def execute(self, passage: Passage, key: str) -> Any:
        passage.ctx.emit("emitted", {"key": key})
        await asyncio.sleep(0)


@dataclass
class Skip(Node):
    async def execute(self, passage: Passage, key: str) -> Any:
        return await passage.ctx.skip("skipped", key)


@dataclass
class Signal(Node):
    """Turns of a loop wait for signals of one name."""

    is_late: bool

    async def execute(self, passage: Passage, key: str) -> Any:
        if self.is_late:
            return await passage.ctx.wait_for_signal(f"{NEVER}{key}", timeout=0)
        return await passage.ctx.wait_for_signal(f"go{_without_turns(key)}")


@dataclass
class Approval(Node):
    is_rejected: bool

    async def execute(self, passage: Passage, key: str) -> Any:
        name = f"{REJECT if self.is_rejected else 'review'}{_without_turns(key)}"
        return (await passage.ctx.wait_for_approval(name)).approved


@dataclass
class Child(Node):
    fails: bool

    async def execute(self, passage: Passage, key: str) -> Any:
        return await passage.ctx.run(str(CHILD), input={"key": key, "fails": self.fails})


@dataclass
class Undo(Node):
    """What is undone depends on how far it came: so only where that does not depend on timing."""

    is_broken: bool

    async def execute(self, passage: Passage, key: str) -> Any:
        if passage.is_sure:
            passage.undo(key, self.is_broken)
        await asyncio.sleep(0)


@dataclass
class Sequence(Node):
    nodes: list[Node]

    async def execute(self, passage: Passage, key: str) -> Any:
        return [await node.execute(passage, f"{key}.{index}") for index, node in enumerate(self.nodes)]


@dataclass
class Loop(Node):
    times: int
    body: Node

    async def execute(self, passage: Passage, key: str) -> Any:
        return [await self.body.execute(passage, f"{key}*{turn}") for turn in range(self.times)]


@dataclass
class Caught(Node):
    body: Node
    instead: Node

    async def execute(self, passage: Passage, key: str) -> Any:
        try:
            return await self.body.execute(passage, f"{key}t")
        except StepFailed as error:
            return [error.step_id, error.code, error.message, await self.instead.execute(passage, f"{key}e")]


@dataclass
class Map(Node):
    """Items that fail for good: one that ends it, or any where they are to settle. They are steps, or child runs."""

    failing: list[bool]
    settles: bool
    limit: int | None
    are_runs: bool

    async def execute(self, passage: Passage, key: str) -> Any:
        async def work(index: int) -> Any:
            return await passage.work(f"{key}[{index}]", self._failures(index))()

        strategy: Any = "all_settled" if self.settles else "all"
        items = range(len(self.failing))
        inputs = [{"key": f"{key}[{index}]", "fails": self._failures(index) > 0} for index in items]
        what, given = (str(CHILD), inputs) if self.are_runs else (work, items)
        result = await passage.ctx.map("map", what, given, strategy=strategy, concurrency=self.limit)
        return [_told(one) for one in result] if self.settles else result

    def _failures(self, index: int) -> int:
        return 1 if self.failing[index] and (self.settles or index == self.failing.index(True)) else 0


@dataclass
class Parallel(Node):
    """All of the branches but one are caught; with `settles` none is."""

    branches: list[Node]
    settles: bool
    limit: int | None

    async def execute(self, passage: Passage, key: str) -> Any:
        branches = [self._branch(passage, index, f"{key}|{index}") for index in range(len(self.branches))]
        strategy: Any = "all_settled" if self.settles else "all"
        result = await passage.ctx.parallel(*branches, strategy=strategy, concurrency=self.limit)
        return [_told(one) for one in result] if self.settles else result

    def _branch(self, passage: Passage, index: int, key: str) -> Coroutine[Any, Any, Any]:
        if self.settles or not index:
            return self.branches[index].execute(passage, key)
        return Caught(self.branches[index], Value()).execute(replace(passage, is_sure=False), key)


@dataclass
class Race(Node):
    winner: Node
    losers: int
    place: int

    async def execute(self, passage: Passage, key: str) -> Any:
        async def lose(own_key: str) -> None:
            await passage.ctx.step("begin", passage.work(own_key, 0))
            await passage.ctx.step("hang", asyncio.Event().wait)

        branches: list[Any] = [lose(f"{key}<{index}") for index in range(self.losers)]
        branches.insert(self.place % (self.losers + 1), self.winner.execute(passage, f"{key}>"))
        return await passage.ctx.parallel(*branches, strategy="race", name="race")


@dataclass
class Gather(Node):
    """asyncio's own, of coroutines and of operations."""

    branches: list[Node]
    failures: int

    async def execute(self, passage: Passage, key: str) -> Any:
        own = [Caught(node, Value()).execute(passage, f"{key}&{index}") for index, node in enumerate(self.branches)]
        direct = passage.ctx.step("gathered", passage.work(f"{key}&", self.failures))
        results = await asyncio.gather(direct, *own, return_exceptions=True)
        return [[one.code, one.message] if isinstance(one, StepFailed) else one for one in results]


def _without_turns(key: str) -> str:
    return re.sub(r"\*\d+", "*", key)


def _told(one: Settled) -> Any:
    return [one.ok, one.value if one.error is None else [one.error.code, one.error.message]]


LIMITS = st.sampled_from([None, 1, 2])
SELDOM = st.sampled_from([False, False, False, True])
FAILURES = st.sampled_from([0, 0, 0, 1, 2])
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Step, FAILURES, st.sampled_from([0, 0, 1])),
    st.builds(Value),
    st.builds(Sleep),
    st.builds(Emit),
    st.builds(Skip),
    st.builds(Map, st.lists(st.booleans(), max_size=3), st.booleans(), LIMITS, st.booleans()),
    st.builds(Signal, SELDOM),
    st.builds(Approval, SELDOM),
    st.builds(Child, SELDOM),
    st.builds(Undo, st.booleans()),
)


def _compound(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds(Sequence, several),
        st.builds(Loop, st.integers(1, 2), inner),
        st.builds(Caught, inner, inner),
        st.builds(Parallel, several, st.booleans(), LIMITS),
        st.builds(Race, inner, st.integers(0, 2), st.integers(0, 2)),
        st.builds(Gather, several, st.integers(0, 1)),
    )


PROGRAMS = st.builds(Sequence, st.lists(st.recursive(LEAVES, _compound, max_leaves=6), min_size=1, max_size=3))


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """The form of `runs.toml`. At most one step fails: whichever is the first to fail ends it."""
    count = draw(st.integers(1, 6))
    failing = draw(st.sampled_from([None, *range(count)]))
    ids = [f"{REJECT}{number}" if number == failing else f"s{number}" for number in range(count)]
    needs = {id: tuple(sorted(draw(st.sets(st.sampled_from(ids[:i]))) if i else ())) for i, id in enumerate(ids)}
    steps = [draw(_failing(id, needs[id]) if id.startswith(REJECT) else _going_well(id, needs[id])) for id in ids]
    return Pipeline(tuple(draw(st.permutations(steps))), {id: f"${{steps.{id}.output}}" for id in ids})


def _failing(id: str, needs: tuple[str, ...]) -> st.SearchStrategy[PipelineStep]:
    return st.sampled_from(
        [
            PipelineStep(id, RunTarget(str(CHILD), {"key": id, "fails": True}), needs),
            PipelineStep(id, RunTarget(str(CHILD), {"key": f"{id}-${{item}}", "fails": "${item == 2}"}), needs,
                         for_each="[1, 2, 3]"),
            PipelineStep(id, AwaitApproval("Good?"), needs),
            PipelineStep(id, AwaitSignal(f"{NEVER}{id}"), needs, timeout_seconds=0.0),
        ]
    )  # fmt: skip


def _going_well(id: str, needs: tuple[str, ...]) -> st.SearchStrategy[PipelineStep]:
    outputs = [f"${{steps.{need}.output}}" for need in needs]
    one = RunTarget(str(CHILD), {"key": id, "fails": False, "of": outputs})
    each = {"key": f"{id}-${{item}}", "of": outputs}
    return st.one_of(
        st.builds(PipelineStep, st.just(id), st.just(one), st.just(needs), st.sampled_from(["", "", "false"])),
        st.sampled_from(
            [
                PipelineStep(id, RunTarget(str(CHILD), each | {"fails": "${index > 5}"}), needs, for_each="[1, 2]"),
                PipelineStep(id, RunTarget(str(CHILD), each | {"fails": "${item == 2}"}), needs,
                             for_each="[1, 2, 3]", strategy=Strategy.ALL_SETTLED, concurrency=2),
                PipelineStep(id, Pause(0.0), needs),
                PipelineStep(id, AwaitSignal(f"go-{id}"), needs),
                PipelineStep(id, AwaitApproval("Good?"), needs),
            ]
        ),
    )  # fmt: skip
