"""What the demo shows, in order, and what it expects; whatever is not as expected ends it."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any

from runsd_client.commands.event_display import EventDisplay
from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.formats import show_artifacts, show_ending, show_runs, show_targets
from runsd_client.commands.programs import show_steps
from runsd_client.commands.terminal import Screen
from runsd_client.demo.daemon import DaemonFailed, OwnDaemon, own_daemon, socket_fits
from runsd_client.demo.documentation import QUESTION, write_documentation
from runsd_client.demo.interrupts import interrupts_deferred, signals_interrupt
from runsd_client.errors import RunsError
from runsd_client.starter.creation import create_project
from runsd_client.sync_client import RunsClient
from runsd_client.values import Run, RunStatus

# Of the countdown, one a second.
_TICKS_BEFORE_CANCELLATION = 3

_CANCEL_REASON = "seen enough"

_NEXT = (
    ("runs init my-project", "a project of your own"),
    ("runsd serve --project my-project", "in another terminal"),
    ("runs start task:sync-data --follow", "a CSV file into SQLite"),
    ("runs watch", "the events of all runs, as they come"),
    ("runs --help", "all commands"),
)


class Unexpected(Exception):
    """The demo did not show what it should."""


def show_all(screen: Screen) -> ExitStatus:
    """Shows everything; the status says whether it was as expected. Nothing is left behind."""
    try:
        with signals_interrupt(), _temporary_directory() as directory:
            _with_daemon(screen, directory)
    except KeyboardInterrupt:
        screen.note("interrupted; the daemon is stopped and its directory removed")
        return ExitStatus.INTERRUPTED
    except (Unexpected, DaemonFailed, RunsError) as error:
        screen.error(f"the demo failed: {error}")
        return ExitStatus.FAILED
    screen.text("\nThat was all real, and is gone. To go on with a project of your own:\n\n")
    show_steps(screen, _NEXT)
    return ExitStatus.COMPLETED


def _with_daemon(screen: Screen, directory: Path) -> None:
    project = directory / "demo"
    _command(screen, "runs", "init", str(project))
    project_id = create_project(project)
    _command(screen, "runsd", "serve", "--project", str(project))
    started_at = time.monotonic()
    with own_daemon(project, directory) as daemon, daemon.client(project_id) as client:
        try:
            client.targets()
            _remark(screen, f"ready after {time.monotonic() - started_at:.1f} s")
            _Show(screen, client, project).everything(directory)
        except (Unexpected, DaemonFailed, RunsError):
            _show_log(screen, daemon)
            raise


@dataclass(frozen=True, slots=True)
class _Show:
    screen: Screen
    client: RunsClient
    project: Path

    def everything(self, directory: Path) -> None:
        """`directory` is for what is made on the way."""
        self._targets()
        self._sync_data()
        self._knowledge_ingest(directory)
        self._cancellation()
        self._list()

    def _targets(self) -> None:
        _command(self.screen, "runs", "targets")
        targets = self.client.targets()
        show_targets(self.screen, targets)
        _expect(not any(target.problems for target in targets), "a definition of the starter project is broken")

    def _sync_data(self) -> None:
        run = self._run("task:sync-data", config={"batchSize": 100})
        with closing(sqlite3.connect(self.project / run.output["database"])) as db:
            rows = db.execute(f'SELECT count(*) FROM "{run.output["table"]}"').fetchone()[0]
        _expect(rows == run.output["rows"] == run.output["inserted"] > 0, f"the database holds {rows} rows")
        _remark(self.screen, f"The SQLite file has {rows} rows. Once more, and there is nothing left to do:")
        again = self._run("task:sync-data", follow=False, config={"batchSize": 100})
        _expect(again.output["unchanged"] == rows, "a second sync changed the database")

    def _knowledge_ingest(self, directory: Path) -> None:
        write_documentation(directory / "python-docs")
        _remark(self.screen, "Now the documentation of this Python, which has been written out as Markdown:")
        run = self._run("task:knowledge-ingest", input={"folder": str(directory / "python-docs")})
        _command(self.screen, "runs", "artifacts", run.run_id, "--download", str(directory))
        show_artifacts(self.screen, self.client.artifacts(run.run_id))
        self._ask(self.client.download_artifact(run.run_id, "knowledge.db", directory))

    def _ask(self, index: Path) -> None:
        query = (
            "SELECT file, snippet(chunks, 2, '«', '»', '…', 12) FROM chunks"
            f" WHERE chunks MATCH '{QUESTION}' ORDER BY rank LIMIT 3"
        )
        _command(self.screen, "sqlite3", str(index), literal=f'"{query}"')
        with closing(sqlite3.connect(index)) as db:
            hits = db.execute(query).fetchall()
        for file, passage in hits:
            self.screen.line((file, "bold"), (" ".join(passage.split()), ""))
        _expect(bool(hits), f"the index knows nothing of {QUESTION!r}")

    def _cancellation(self) -> None:
        run_id = self._start("task:countdown", {"input": {"seconds": 60}}, "--follow")
        ticks = 0
        with EventDisplay(self.screen) as display:
            for event in self.client.follow(run_id):
                display.show(event)
                ticks += event.event_type == "progress"
                if event.event_type == "progress" and ticks == _TICKS_BEFORE_CANCELLATION:
                    display.close()
                    cancel = ("runs", "cancel", run_id, "--reason", _CANCEL_REASON)
                    _command(self.screen, *cancel, literal="# meanwhile, in another terminal")
                    self.client.cancel(run_id, reason=_CANCEL_REASON)
        run = self._ended(run_id, RunStatus.CANCELLED)
        _expect("cleaned up" in run.logs, "the cancelled task did not clean up")

    def _list(self) -> None:
        _command(self.screen, "runs", "list")
        show_runs(self.screen, self.client.list().data)

    def _run(self, target: str, *, follow: bool = True, **documents: Any) -> Run:
        """A run from its creation to its end, which must be a good one."""
        run_id = self._start(target, documents, "--follow" if follow else "--wait")
        if follow:
            with EventDisplay(self.screen) as display:
                for event in self.client.follow(run_id):
                    display.show(event)
        return self._ended(run_id, RunStatus.COMPLETED)

    def _start(self, target: str, documents: dict[str, Any], *options: str) -> str:
        written = [word for name, value in documents.items() for word in (f"--{name}", json.dumps(value))]
        _command(self.screen, "runs", "start", target, *written, *options)
        return self.client.create_task_run(target, **documents).run.run_id

    def _ended(self, run_id: str, expected: RunStatus) -> Run:
        run = self.client.wait(run_id)
        show_ending(self.screen, run)
        _expect(run.status is expected, f"run {run_id} of {run.target} ended {run.status}, not {expected}")
        return run


def _command(screen: Screen, *words: str, literal: str = "") -> None:
    """What a person would type for what comes next; `literal` is added as it is."""
    screen.text("\n")
    screen.line(("$", "dim"), (shlex.join(words), "bold cyan"), *([(literal, "cyan")] if literal else []))


def _remark(screen: Screen, text: str) -> None:
    screen.text("\n")
    screen.line((text, "italic"))


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Unexpected(otherwise)


def _show_log(screen: Screen, daemon: OwnDaemon) -> None:
    screen.error("the end of the daemon's log:")
    for line in daemon.log_tail().splitlines():
        screen.note(line)


@contextmanager
def _temporary_directory() -> Iterator[Path]:
    """Where TMPDIR says, or in /tmp where a socket's path would be too long there."""
    name = "runsd-demo-"
    base = None if socket_fits(Path(gettempdir(), f"{name}12345678")) else "/tmp"
    directory = mkdtemp(prefix=name, dir=base)
    try:
        yield Path(directory)
    finally:
        with interrupts_deferred():
            shutil.rmtree(directory)
