"""A whole state directory held against the invariants: the database, and the files that belong to it.

What attempts left behind is told as notes: a running daemon clears it a moment later, the next one
when it starts.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runsd.adapters.artifacts import open_inside
from runsd.adapters.directory import RunFiles
from runsd.model.record import Artifact
from runsd.model.run import Run, RunStatus
from runsd.store.verification import Counts, Violation, find_run, opened, verify_database

_ATTEMPT = re.compile(r"(.+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Note:
    """No violation, and worth knowing. `run_id` is empty where it is not known."""

    run_id: str
    what: str

    def __str__(self) -> str:
        return f"{self.run_id or 'directory'}: {self.what}"


def verify(directory: Path, counts: Counts, *, deep: bool = False) -> Iterator[Violation | Note]:
    """Every finding as it comes; `counts` grow meanwhile. `deep` reads artifacts and indices as well.

    Raises NotVerifiable and StoreTooNew.
    """
    files = RunFiles(directory)

    def check_file(run_id: str, artifact: Artifact) -> Iterator[str]:
        return _file_faults(files.attempt(run_id, artifact.attempt).artifacts, artifact, deep=deep)

    try:
        with opened(directory) as connection:
            yield from verify_database(connection, counts, check_file, deep=deep)
            yield from _leftovers(directory, connection)
    except sqlite3.DatabaseError as error:
        yield Violation("", f"cannot be read on: {error}")


def _file_faults(directory: Path, artifact: Artifact, *, deep: bool) -> Iterator[str]:
    try:
        with open_inside(directory, artifact.name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if deep else artifact.sha256
            size = file.seek(0, 2)
    except OSError as error:
        yield f"artifact {artifact.name!r} cannot be opened: {error.strerror}"
        return
    if size != artifact.size_bytes:
        yield f"artifact {artifact.name!r} has {size} bytes, recorded are {artifact.size_bytes}"
    elif digest != artifact.sha256:
        yield f"artifact {artifact.name!r} has another sha256 than recorded"


def _leftovers(directory: Path, connection: sqlite3.Connection) -> Iterator[Note]:
    """Each directory is seen before its run is looked up, so that a run made meanwhile is found."""
    for path in sorted(directory.glob("attempts/*/*")):
        name = _ATTEMPT.fullmatch(path.name)
        if name is None:
            yield Note("", f"{path.relative_to(directory)} is no attempt's directory")
            continue
        run = find_run(connection, name[1])
        why = _why_left(run, int(name[2]))
        if why:
            yield Note(name[1], f"the directory of attempt {name[2]} is left: {why}")
    for path in sorted(directory.glob("kept/*/*")):
        run = find_run(connection, path.name)
        if run is None or run.status.is_terminal:
            yield Note(path.name, f"its RUNSD_STATE is left: {_why_left(run, 0)}")


def _why_left(run: Run | None, attempt: int) -> str:
    if run is None:
        return "there is no such run"
    if run.status.is_terminal:
        return f"the run is {run.status.value}"
    if run.status is RunStatus.PENDING:
        return f"the run is pending, after attempt {run.attempt}"
    return "" if attempt == run.attempt else f"the run is {run.status.value}, in attempt {run.attempt}"
