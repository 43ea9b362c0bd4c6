"""Plays the scenarios of tests/scenarios to a real daemon. What it does not know is an error."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runsd_client import RunsError

from tests.integration.daemon import Daemon
from tests.integration.scenario_calls import CALLS, STREAMS, Client, plain, plain_error
from tests.integration.scenario_matching import mismatch

SCENARIOS = Path(__file__).parents[1] / "scenarios"
Step = Mapping[str, Any]

# The members that a step may have, by the one that says what it is.
_MEMBERS = {
    "call": {"call", "with", "as", "expect", "error", "on", "until", "impatient"},
    "value": {"value", "expect"},
    "daemon": {"daemon"},
    "file": {"file"},
    "at_once": {"at_once"},
    "repeat": {"repeat", "steps"},
}


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    why: str
    steps: Sequence[Step]


def scenarios() -> list[tuple[str, Scenario]]:
    """All there are, with the name of their file."""
    paths = sorted(path for path in SCENARIOS.glob("*.json") if path.name != "matching.json")
    return [(path.stem, Scenario(**scenario)) for path in paths for scenario in json.loads(path.read_text())]


def value_of(value: Any, known: Mapping[str, Any], directory: Path) -> Any:
    """The value with its references, integers and files filled in."""
    match value:
        case str() if value.startswith("$"):
            return _part(known, value[1:].split("."))
        case {"$integer": digits}:
            return int(digits)
        case {"$file": name}:
            return str(directory / name)
        case dict():
            return {name: value_of(item, known, directory) for name, item in value.items()}
        case list():
            return [value_of(item, known, directory) for item in value]
    return value


def _part(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


class Player:
    """Plays one scenario; `directory` is for its files. `impatient` is a client without retries."""

    def __init__(self, client: Client, impatient: Client, daemon: Daemon, directory: Path) -> None:
        self._client: Any = client
        self._impatient: Any = impatient
        self._daemon = daemon
        self._directory = directory
        self._known: dict[str, Any] = {"scenario": uuid.uuid4().hex}

    async def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            await self._play_step(step)

    async def _play_step(self, step: Step) -> None:
        kind = next((name for name in _MEMBERS if name in step), None)
        assert kind is not None, f"no such step: {step}"
        assert step.keys() <= _MEMBERS[kind], f"a step {kind!r} has no {step.keys() - _MEMBERS[kind]}"
        match kind:
            case "call":
                await self._call(step)
            case "value":
                self._check(step["expect"], self._value(step["value"]), "the value")
            case "daemon":
                await asyncio.to_thread(self._handle_daemon, step["daemon"])
            case "file":
                (self._directory / step["file"]).touch()
            case "at_once":
                async with asyncio.TaskGroup() as group:
                    for each in step["at_once"]:
                        group.create_task(self._play_step(each))
            case "repeat":
                for _ in range(step["repeat"]):
                    await self.play(step["steps"])

    def _handle_daemon(self, what: str) -> None:
        assert what in ("kill", "start", "restart"), f"a daemon cannot {what}"
        if what != "start":
            self._daemon.kill()
        if what != "kill":
            self._daemon.start()

    async def _call(self, step: Step) -> None:
        name = step["call"]
        try:
            answer = plain(await self._answer(name, step))
        except RunsError as error:
            assert "error" in step, f"{name}: {plain_error(error)}"
            self._check(step["error"], plain_error(error), f"the error of {name}")
            return
        assert "error" not in step, f"{name} was to fail, and gave {answer}"
        if "as" in step:
            self._known[step["as"]] = answer
        if "expect" in step:
            self._check(step["expect"], answer, name)

    async def _answer(self, name: str, step: Step) -> Any:
        client, arguments = self._impatient if step.get("impatient") else self._client, self._value(step["with"])
        if name not in STREAMS:
            assert not {"on", "until"} & step.keys(), f"{name} is no stream"
            return await CALLS[name](client, arguments)
        async with aclosing(getattr(client, name)(**arguments)) as stream:
            return await self._follow(stream, list(step.get("on", ())), step.get("until"))

    async def _follow(
        self, stream: AsyncGenerator[Any, None], reactions: list[Mapping[str, Any]], until: str | None
    ) -> list[Any]:
        seen: list[Any] = []
        async for item in stream:
            seen.append(item)
            event_type = getattr(item, "event", item).event_type
            if reactions and event_type == reactions[0]["event"]:
                await self.play(reactions.pop(0)["do"])
            if event_type == until:
                break
        assert not reactions, f"no further event {reactions[0]['event']!r} came: {plain(seen)}"
        return seen

    def _value(self, value: Any) -> Any:
        return value_of(value, self._known, self._directory)

    def _check(self, expected: Any, actual: Any, where: str) -> None:
        assert not (difference := mismatch(self._value(expected), actual, where)), difference
