"""What the demo shows, in order, and what it expects; whatever is not as expected ends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.formats import show_runs
from runsd_client.commands.programs import show_steps
from runsd_client.commands.terminal import Screen
from runsd_client.demo.daemon import DaemonFailed, OwnDaemon, own_daemon, socket_fits
from runsd_client.demo.interrupts import interrupts_deferred, signals_interrupt
from runsd_client.demo.presenter import Presenter, Unexpected, show_command
from runsd_client.demo.tasks import TaskShow
from runsd_client.demo.workflow import WorkflowShow
from runsd_client.errors import RunsError
from runsd_client.starter.creation import create_project

_NEXT = (
    ("runs init my-project", "a project of your own"),
    ("runsd serve --project my-project", "in another terminal"),
    ("runs start task:sync-data --follow", "a CSV file into SQLite"),
    ("runs watch", "the events of all runs, as they come"),
    ("runs --help", "all commands"),
)


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
    show_command(screen, "runs", "init", str(project))
    project_id = create_project(project)
    show_command(screen, "runsd", "serve", "--project", str(project))
    with own_daemon(project, directory) as daemon, daemon.client(project_id) as client:
        try:
            _everything(Presenter(screen, client), daemon, project, directory)
        except (Unexpected, DaemonFailed, RunsError):
            _show_log(screen, daemon)
            raise


def _everything(presenter: Presenter, daemon: OwnDaemon, project: Path, directory: Path) -> None:
    presenter.client.targets()
    presenter.remark(f"ready after {daemon.seconds_since_start:.1f} s")
    TaskShow(presenter, project).everything(directory)
    WorkflowShow(presenter, daemon, project).everything()
    presenter.command("runs", "list")
    show_runs(presenter.screen, presenter.client.list().data)


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
