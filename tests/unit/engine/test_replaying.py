"""A random workflow, replayed from any prefix of its record, ends with the same result.

Programs are made of all that a workflow may do inside one daemon. Branches fail and race so that what
comes out does not depend on timing: at most one branch of a group may fail it, one of a race may end.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runsd.model.events import Event, EventType, decode
from runsd.sdk.step_options import Retry
from runsd.sdk.step_outcomes import Settled, StepFailed
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_room import Room, room

Keys = tuple[int, ...]


@dataclass
class World:
    """What is outside the workflow: which steps were executed, how often they failed, what values came."""

    failures: Counter[str] = field(default_factory=Counter)
    executed: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Passage:
    """One execution of the program."""

    ctx: WorkflowContext
    world: World

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
    """Items that fail for good: one that ends it, or any where they are to settle."""

    failing: list[bool]
    settles: bool
    limit: int | None

    async def execute(self, passage: Passage, key: str) -> Any:
        async def work(index: int) -> Any:
            return await passage.work(f"{key}[{index}]", self._failures(index))()

        strategy: Any = "all_settled" if self.settles else "all"
        result = await passage.ctx.map("map", work, range(len(self.failing)), strategy=strategy, concurrency=self.limit)
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
        branches = [
            (node if self.settles or not index else Caught(node, Value())).execute(passage, f"{key}|{index}")
            for index, node in enumerate(self.branches)
        ]
        strategy: Any = "all_settled" if self.settles else "all"
        result = await passage.ctx.parallel(*branches, strategy=strategy, concurrency=self.limit)
        return [_told(one) for one in result] if self.settles else result


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


def _told(one: Settled) -> Any:
    return [one.ok, one.value if one.error is None else [one.error.code, one.error.message]]


LIMITS = st.sampled_from([None, 1, 2])
FAILURES = st.sampled_from([0, 0, 0, 1, 2])
LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Step, FAILURES, st.sampled_from([0, 0, 1])),
    st.builds(Value),
    st.builds(Sleep),
    st.builds(Emit),
    st.builds(Skip),
    st.builds(Map, st.lists(st.booleans(), max_size=3), st.booleans(), LIMITS),
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
# So many prefixes of each record, spread evenly; the whole of it among them.
PREFIXES = 12

PLAIN = Step(0, 0)
EXAMPLES: dict[str, Node] = {
    "branches of its own behind a step": Sequence([PLAIN, Gather([PLAIN, Sequence([PLAIN, PLAIN])], 0), PLAIN]),
    "race won by the last": Sequence([Race(Step(1, 1), 2, 2), PLAIN]),
    "races in a race": Sequence([Race(Race(Value(), 1, 1), 1, 0), Emit(), PLAIN]),
    "failure among branches": Sequence([Caught(Parallel([Step(2, 1), Loop(2, PLAIN)], False, None), PLAIN), PLAIN]),
    "settled branches": Sequence([Parallel([Step(2, 1), Map([True, False, True], True, 1)], True, 1), PLAIN]),
    "map that fails": Sequence([Caught(Map([False, True, False], False, 1), Value()), PLAIN]),
    "failure that ends it": Sequence([Parallel([Gather([Step(1, 0)], 1), PLAIN], False, None), Step(2, 1)]),
}


@settings(max_examples=25)
@given(PROGRAMS)
def test_random_workflow_replayed_from_any_prefix_of_its_record_ends_the_same(program: Node) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(program, Path(directory)))


@pytest.mark.parametrize("program", EXAMPLES.values(), ids=EXAMPLES)
def test_workflow_replayed_from_any_prefix_of_its_record_ends_the_same(program: Node) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(program, Path(directory)))


async def _check(program: Node, directory: Path) -> None:
    async with room(directory) as here:
        world = World()
        run_id = await here.create()
        result = await _result(here, run_id, program, world)
        record = [event for event in await here.events(run_id) if event.event_type.startswith("step.")]
        for length in _lengths(len(record)):
            prefix = record[:length]
            again = World(failures=_failures(prefix))
            replay_id = await here.create()
            await here.start(replay_id)
            await here.emit(replay_id, prefix)
            await here.record(replay_id, EventType.INTERRUPTED, {})
            assert await _result(here, replay_id, program, again) == result, f"after {length} events"
            completed = _completed(prefix)
            assert not set(again.executed) & completed, f"executed again after {length} events"
            _check_values(prefix, world, again)


async def _result(here: Room, run_id: str, program: Node, world: World) -> Any:
    async def body(ctx: WorkflowContext, input: Any) -> Any:
        return await program.execute(Passage(ctx, world), "")

    spec = await here.start(run_id)
    while (outcome := await asyncio.wait_for(here.execute(spec, body), 30)).is_waiting:
        spec = await here.resume(run_id)
    error = outcome.error
    return json.loads(outcome.output_json or "null"), (error.code, error.message) if error else None


def _lengths(whole: int) -> list[int]:
    return sorted({round(part * whole / PREFIXES) for part in range(PREFIXES + 1)})


def _payloads(events: list[Event], event_type: str) -> Iterator[dict[str, Any]]:
    return (decode(event.payload_json) for event in events if event.event_type == event_type)


def _completed(prefix: list[Event]) -> set[str]:
    outputs = (payload.get("output") for payload in _payloads(prefix, "step.completed"))
    return {output["key"] for output in outputs if isinstance(output, dict) and "key" in output}


def _failures(prefix: list[Event]) -> Counter[str]:
    """Failures that the record knows of are not for the world to bring about again."""
    messages = (payload["error"]["message"] for payload in _payloads(prefix, "step.failed"))
    words = (message.split() for message in messages if message.startswith("ValueError: "))
    return Counter(key for _, key, *_ in words)


def _check_values(prefix: list[Event], world: World, again: World) -> None:
    """What is recorded comes again."""
    recorded = {payload.get("output") for payload in _payloads(prefix, "step.completed") if payload["kind"] == "value"}
    for key, values in world.values.items():
        if recorded >= set(values):
            assert again.values.get(key, values) == values, key
