"""How the demo shows a run: the command that a person would type, what comes of it, and how it must end."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.formats import show_ending
from runsd_client.commands.terminal import Screen
from runsd_client.requests import NewRun
from runsd_client.sync_client import RunsClient
from runsd_client.values import Run, RunStatus

ELSEWHERE = "# meanwhile, in another terminal"


class Unexpected(Exception):
    """The demo did not show what it should."""


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Unexpected(otherwise)


@dataclass(frozen=True, slots=True)
class Presenter:
    screen: Screen
    client: RunsClient

    def command(self, *words: str, literal: str = "") -> None:
        show_command(self.screen, *words, literal=literal)

    def remark(self, text: str) -> None:
        show_remark(self.screen, text)

    def run(self, target: str, *, follow: bool = True, **documents: Any) -> Run:
        """A run from its creation to its end, which must be a good one."""
        run_id = self.start(target, "--follow" if follow else "--wait", **documents)
        if follow:
            with EventDisplay(self.screen) as display:
                for event in self.client.follow(run_id):
                    display.show(event)
        return self.ended(run_id, RunStatus.COMPLETED)

    def start(self, target: str, *options: str, **documents: Any) -> str:
        written = [word for name, value in documents.items() for word in (f"--{name}", json.dumps(value))]
        self.command("runs", "start", target, *written, *options)
        return self.client.create(NewRun(target, **documents)).run.run_id

    def ended(self, run_id: str, expected: RunStatus) -> Run:
        run = self.client.wait(run_id)
        show_ending(self.screen, run)
        expect(run.status is expected, f"run {run_id} of {run.target} ended {run.status}, not {expected}")
        return run


def show_command(screen: Screen, *words: str, literal: str = "") -> None:
    """What a person would type for what comes next; `literal` is added as it is."""
    screen.text("\n")
    screen.line(("$", "dim"), (shlex.join(words), "bold cyan"), *([(literal, "cyan")] if literal else []))


def show_remark(screen: Screen, text: str) -> None:
    screen.text("\n")
    screen.line((text, "italic"))
