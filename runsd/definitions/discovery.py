"""What a project's Python modules declare, asked of a process of its own.

User code never runs in the daemon for this: it may exit, hang or crash without harm.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from runsd.model.targets import RunKind

TIMEOUT_SECONDS = 30.0
_PROGRAM = "from runsd.sdk.describe import main; main()"
_MAX_STDERR_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Declared:
    """A function with a decorator. `faults` are the options that are no JSON, with the reason.

    `workflow_fault` says why the function can be no workflow; empty when it can.
    """

    kind: RunKind
    id: str
    module: str
    qualname: str
    file: str
    options: Mapping[str, object]
    faults: Mapping[str, str]
    workflow_fault: str


@dataclass(frozen=True, slots=True)
class ScheduledFunction:
    """A `@schedule`. Without an id it takes that of its target; `targets` are what else the function declares."""

    id: str | None
    module: str
    qualname: str
    file: str
    options: Mapping[str, object]
    faults: Mapping[str, str]
    targets: Sequence[str]


@dataclass(frozen=True, slots=True)
class DiscoveryError:
    """Why a module, or a `module:callable`, cannot be used; `line` is 0 where none is to blame."""

    reference: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.message} ({self.file}, line {self.line})" if self.file and self.line else self.message


@dataclass(slots=True)
class Discovered:
    """`workflow_faults` are of the verified callables, by reference."""

    declared: list[Declared] = field(default_factory=list)
    schedules: list[ScheduledFunction] = field(default_factory=list)
    workflow_faults: dict[str, str] = field(default_factory=dict)
    errors: list[DiscoveryError] = field(default_factory=list)


class _Unanswered(Exception):
    """The process did not answer; the message says how it ended instead."""


def discover(directory: Path, references: Sequence[str], timeout: float = TIMEOUT_SECONDS) -> Discovered:
    """`references` are modules to look through, and `module:callable` to verify."""
    return _discover(directory, references, time.monotonic() + timeout) if references else Discovered()


def _discover(directory: Path, references: Sequence[str], deadline: float) -> Discovered:
    try:
        return _parse(_ask(directory, references, deadline))
    except _Unanswered as error:
        if len(references) == 1 or time.monotonic() >= deadline:
            return Discovered(errors=[DiscoveryError(reference, str(error)) for reference in references])
    # One of them took the process down; alone, it takes no other with it.
    whole = Discovered()
    for reference in references:
        part = _discover(directory, [reference], deadline)
        whole.declared += part.declared
        whole.schedules += part.schedules
        whole.workflow_faults |= part.workflow_faults
        whole.errors += part.errors
    return whole


def _ask(directory: Path, references: Sequence[str], deadline: float) -> bytes:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNSD_")}
    # Files, not pipes: what user code leaves running may hold a pipe open for ever.
    with TemporaryFile() as answer, TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(directory), *references],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=stderr,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        try:
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill_group(process)
            raise _Unanswered("importing did not end in time") from None
        if status != 0:
            raise _Unanswered(f"importing ended the process with status {status}{_tail(stderr)}")
        answer.seek(0)
        return answer.read()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    text = stderr.read().decode("utf-8", "replace").strip()
    return f": {text[-_MAX_STDERR_SHOWN:]}" if text else ""


def _parse(answer: bytes) -> Discovered:
    try:
        document: dict[str, Any] = json.loads(answer)
    except ValueError:  # user code ended the process with status 0 before the answer
        raise _Unanswered("importing ended the process with status 0") from None
    return Discovered(
        declared=[Declared(**{**item, "kind": RunKind(item["kind"])}) for item in document["declared"]],
        schedules=[ScheduledFunction(**item) for item in document["schedules"]],
        workflow_faults=document["workflow_faults"],
        errors=[DiscoveryError(**error) for error in document["errors"]],
    )
