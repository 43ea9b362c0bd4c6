"""How the programs of this installation are called, in hints that are to be typed as they stand."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from runsd_client.commands.terminal import Screen


def program(name: str) -> str:
    """By name where PATH has it, else by its path beside this Python: an environment need not be active."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else shlex.quote(str(beside))


def show_steps(screen: Screen, steps: Sequence[tuple[str, str]]) -> None:
    """Commands and what they are for. A leading `runs` or `runsd` is written as it can be called."""
    commands = [_callable(command) for command, _ in steps]
    width = max(map(len, commands))
    for command, (_, meaning) in zip(commands, steps, strict=True):
        screen.line((f"  {command:<{width}} ", "bold"), (f"# {meaning}", "dim"))


def _callable(command: str) -> str:
    name, _, arguments = command.partition(" ")
    return f"{program(name)} {arguments}"
