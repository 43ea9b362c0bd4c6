"""A random workflow, replayed from any prefix of its record, ends with the same result."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from runsd.engine.workflows.adapter import EVENTS_OF_A_FRESH_RUN
from runsd.engine.workflows.pipeline import pipeline_function
from runsd.model.events import Event, EventType, decode, encode
from runsd.model.pipelines import Pipeline
from runsd.model.steps import HISTORY_TYPES, History, StepKind, StepState
from runsd.sdk.workflow import WorkflowContext
from tests.unit.engine.workflow_programs import (
    PROGRAMS,
    UNDO,
    Approval,
    Caught,
    Child,
    Emit,
    Gather,
    Loop,
    Map,
    Node,
    Parallel,
    Passage,
    Race,
    Sequence,
    Signal,
    Step,
    Undo,
    Value,
    World,
    pipelines,
)
from tests.unit.engine.workflow_room import Outside, Program, Room, answered, room

# Of what a program does in a world.
Made = Callable[[World], Program]
# So many prefixes of each record, spread evenly; the whole of it among them.
PREFIXES = 12

PLAIN = Step(0, 0)
EXAMPLES: dict[str, Node] = {
    "branches of its own behind a step": Sequence([PLAIN, Gather([PLAIN, Sequence([PLAIN, PLAIN])], 0), PLAIN]),
    "race won by the last": Sequence([Race(Step(1, 1), 2, 2), PLAIN]),
    "races in a race": Sequence([Race(Race(Value(), 1, 1), 1, 0), Emit(), PLAIN]),
    "failure among branches": Sequence([Caught(Parallel([Step(2, 1), Loop(2, PLAIN)], False, None), PLAIN), PLAIN]),
    "settled branches": Sequence([Parallel([Step(2, 1), Map([True, False, True], True, 1, False)], True, 1), PLAIN]),
    "map that fails": Sequence([Caught(Map([False, True, False], False, 1, False), Value()), PLAIN]),
    "failure that ends it": Sequence([Parallel([Gather([Step(1, 0)], 1), PLAIN], False, None), Step(2, 1)]),
    "waits in a loop": Sequence([Loop(3, Sequence([Signal(False), Approval(False)])), PLAIN]),
    "what comes while it works": Sequence([Race(Sequence([Signal(False), Child(False), Approval(False)]), 1, 0)]),
    "children that fail": Sequence([Caught(Map([False, True, False], False, None, True), Child(False)), Child(True)]),
    "undone": Sequence([PLAIN, Undo(False), Parallel([Undo(True), Sequence([Child(False), Undo(False)])], True, None),
                        Signal(False), Caught(Signal(True), PLAIN), Undo(False), Approval(True)]),
}  # fmt: skip


@settings(max_examples=25)
@given(PROGRAMS)
def test_random_workflow_replayed_from_any_prefix_of_its_record_ends_the_same(program: Node) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(_made(program), Path(directory)))


@settings(max_examples=15)
@given(pipelines())
def test_random_workflow_of_runs_toml_replayed_from_any_prefix_of_its_record_ends_the_same(pipeline: Pipeline) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(lambda world: pipeline_function(pipeline), Path(directory)))


@pytest.mark.parametrize("program", EXAMPLES.values(), ids=EXAMPLES)
def test_workflow_replayed_from_any_prefix_of_its_record_ends_the_same(program: Node) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_check(_made(program), Path(directory)))


def _made(program: Node) -> Made:
    def made(world: World) -> Program:
        async def body(ctx: WorkflowContext, input: Any) -> Any:
            return await program.execute(Passage(ctx, world), "")

        return body

    return made


async def _check(made: Made, directory: Path) -> None:
    async with room(directory) as here, answered(here) as outside:
        world = World()
        run_id = await here.create()
        result = await _result(here, outside, run_id, made, world)
        _, error = result
        assert sorted(world.undone) == (sorted(world.to_undo) if error else [])
        record = [event for event in await here.events(run_id) if event.event_type in HISTORY_TYPES]
        for length in _lengths(record):
            replay_id = await here.create()
            await here.start(replay_id)
            prefix = await _transplanted(here, record[:length], replay_id)
            again = World(failures=_failures(prefix))
            outside.execute = again.execute_child
            await here.emit(replay_id, prefix)
            await here.record(replay_id, EventType.INTERRUPTED, {})
            assert await _result(here, outside, replay_id, made, again) == result, f"after {length} events"
            completed = _completed(prefix)
            assert not set(again.executed) & completed, f"executed again after {length} events"
            assert sorted([*_undone(prefix), *again.undone]) == sorted(world.undone), f"undone after {length} events"
            assert _children(prefix).items() <= _children(await here.events(replay_id)).items()
            _check_values(prefix, world, again)


async def _result(here: Room, outside: Outside, run_id: str, made: Made, world: World) -> Any:
    outside.execute = world.execute_child
    program = made(world)
    spec = await here.start(run_id)
    while (outcome := await asyncio.wait_for(here.execute(spec, program), 30)).is_waiting:
        await outside.settled()
        assert await here.store.queries.startable(2**60, 1, ["p"], [], []), "nothing would ever wake it"
        spec = await here.resume(run_id)
    error = outcome.error
    return json.loads(outcome.output_json or "null"), (error.code, error.message) if error else None


def _lengths(record: list[Event]) -> list[int]:
    lengths = {round(part * len(record) / PREFIXES) for part in range(PREFIXES + 1)}
    return sorted(length for length in lengths if not length or not _is_half(record[length - 1]))


def _is_half(last: Event) -> bool:
    """That it waits for an approval, and what it asks for, are recorded in one transaction."""
    return last.event_type == EventType.STEP_STARTED and decode(last.payload_json)["kind"] == StepKind.APPROVAL.value


async def _transplanted(here: Room, prefix: list[Event], replay_id: str) -> list[Event]:
    """As events of another run: at other places in its log, and with children of its own for those that go on."""
    ids = {event.event_id: EVENTS_OF_A_FRESH_RUN + index for index, event in enumerate(prefix, 1)}
    children: dict[str, str] = {}
    for step in History().add_all(prefix).steps.values():
        if step.kind is StepKind.RUN and step.state is StepState.WAITING:
            children[step.child_run_id] = await here.create_child(replay_id, of=step.child_run_id)

    def transplanted(event: Event) -> Event:
        payload = decode(event.payload_json)
        if "signal_event_id" in payload:
            payload["signal_event_id"] = ids[payload["signal_event_id"]]
        if "child_run_id" in payload:
            payload["child_run_id"] = children.get(payload["child_run_id"], payload["child_run_id"])
        return event._replace(event_id=ids[event.event_id], payload_json=encode(payload))

    return [transplanted(event) for event in prefix]


def _payloads(events: list[Event], event_type: str) -> Iterator[dict[str, Any]]:
    return (decode(event.payload_json) for event in events if event.event_type == event_type)


def _completed(prefix: list[Event]) -> set[str]:
    outputs = (payload.get("output") for payload in _payloads(prefix, "step.completed"))
    return {output["key"] for output in outputs if isinstance(output, dict) and "key" in output}


def _undone(prefix: list[Event]) -> list[str]:
    ends = (*_payloads(prefix, "step.completed"), *_payloads(prefix, "step.failed"))
    return [payload["name"].removeprefix(UNDO) for payload in ends if payload["name"].startswith(UNDO)]


def _children(events: list[Event]) -> dict[str, str]:
    """The child of each step."""
    steps = History().add_all(events).steps
    return {step_id: step.child_run_id for step_id, step in steps.items() if step.child_run_id}


def _failures(prefix: list[Event]) -> Counter[str]:
    """Failures that the record knows of are not for the world to bring about again."""
    messages = (payload["error"]["message"] for payload in _payloads(prefix, "step.failed"))
    words = (message.split() for message in messages if message.startswith("ValueError: "))
    return Counter(key for _, key, *_ in words)


def _check_values(prefix: list[Event], world: World, again: World) -> None:
    """What is recorded comes again."""
    recorded = [payload.get("output") for payload in _payloads(prefix, "step.completed") if payload["kind"] == "value"]
    for key, values in world.values.items():
        if all(value in recorded for value in values):
            assert again.values.get(key, values) == values, key
