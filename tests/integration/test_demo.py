"""`runs demo`: shows everything, fails clearly, and leaves neither process nor file behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from runsd_client.commands.exit_status import ExitStatus
from runsd_client.commands.programs import program, show_steps
from runsd_client.commands.terminal import Screen
from runsd_client.demo import daemon, show, tasks, workflow
from runsd_client.demo.documentation import QUESTION, write_documentation
from runsd_client.demo.leftovers import end_leftovers
from runsd_client.starter.creation import create_project
from runsd_client.values import Event

COMMAND = [sys.executable, "-m", "runsd_client.cli", "demo"]
PATIENCE_SECONDS = 60.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; at the end nothing of a demo may be there or in use."""
    with tempfile.TemporaryDirectory(prefix="demo-test-", dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)
        assert list(Path(short).glob("runsd-demo-*")) == []
        assert processes_that_name(short) == []


def processes_that_name(text: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            environment = (entry / "environ").read_bytes() if os.fsencode(text) not in command else b""
        except OSError:  # it has ended, or is somebody else's
            continue
        of_a_run = b"RUNSD_STATE=" + os.fsencode(text) in environment
        if (os.fsencode(text) in command or of_a_run) and int(entry.name) != os.getpid():
            found.append(command.decode())
    return found


def shown() -> tuple[ExitStatus, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = show.show_all(Screen(out, err))
    return status, out.getvalue(), err.getvalue()


def test_demo_shows_everything(place: Path) -> None:
    result = subprocess.run(COMMAND, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (result.returncode, result.stderr) == (0, "")
    out = result.stdout
    assert "\x1b" not in out
    assert """$ runs start task:sync-data --config '{"batchSize": 100}' --follow""" in out
    assert " progress 24% 100 of 418 rows\n" in out
    assert '"inserted": 418' in out and '"unchanged": 418' in out
    assert out.count(" run.completed ") == 3 and out.count(" run.cancelled ") == 1
    assert "«" in out.split("$ sqlite3", 1)[1]
    assert "s left; cleaned up" in out
    listed = out.split("$ runs list\n", 1)[1].splitlines()[1:7]
    assert [line.split()[1] for line in listed] == ["completed", "completed", "cancelled", *["completed"] * 3]
    assert "--reason 'seen enough' # meanwhile" in out
    assert not any(line != line.rstrip() for line in out.splitlines())


@pytest.fixture
def only_the_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves the seconds of what comes before it."""
    monkeypatch.setattr(tasks.TaskShow, "everything", lambda self, directory: None)


@pytest.mark.usefixtures("only_the_workflow")
def test_demo_kills_its_daemon_in_the_middle_of_a_workflow(place: Path) -> None:
    status, out, err = shown()
    assert (status, err) == (ExitStatus.COMPLETED, "")
    before, after = out.split("$ runs start workflow:content-pipeline ", 1)[1].split("\n$ kill -KILL ", 1)
    steps = ["research", "draft[0]", "draft[1]", "draft[2]", "draft[3]", "draft"]
    assert all(f" step.completed {step} " in f"{before} ".replace("\n", " \n") for step in steps)
    assert " step.started knowledge-ingest run=" in before and "\nIts child run is at 1 of 2 files. " in before
    followed, _, told = after.partition("\nIts steps, as `runs get` draws them:\n")
    assert " step.completed knowledge-ingest " in followed and "\n$ runs approve " in followed
    assert not any(f" step.completed {step} " in followed for step in steps)
    assert "\n  draft completed map " in told and "\n    [3] completed " in told and "\n  publish completed " in told
    assert f"\nCompleted before it, and not executed again: {', '.join(steps)}.\n" in told
    assert "was not disturbed: one attempt, its " in told
    assert "\npublished/attempt.md has the 4 sections that were drafted.\n" in told


def test_steps_that_are_told_of_again_are_found() -> None:
    def event(event_id: int, event_type: str, step_id: str) -> Event:
        return Event(event_id, event_type, {"step_id": step_id}, None)

    before = [event(3, "step.started", "a"), event(4, "step.completed", "a"), event(5, "step.completed", "b[0]")]
    assert workflow.completed_steps([*before, event(6, "step.started", "c")]) == ["a", "b[0]"]
    other = Event(7, "run.interrupted", None, None)
    assert workflow.touched_again(["a", "b[0]"], [other, event(8, "step.completed", "c")]) == []
    assert workflow.touched_again(["a", "b[0]"], [other, event(8, "step.started", "b[0]")]) == ["b[0]"]


def test_hints_can_be_typed_where_the_programs_are_not_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "my env" / "python"
    python.parent.mkdir()
    (python.parent / "runs").touch()
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path))
    out = io.StringIO()
    show_steps(Screen(out, io.StringIO()), [("runs list", "all"), ("runsd serve", "it is nowhere")])
    first, second = out.getvalue().splitlines()
    assert first.startswith(f"  '{tmp_path}/my env/runs' list")
    assert second.startswith("  runsd serve")
    assert first.index("#") == second.index("#")
    (tmp_path / "runs").touch(mode=0o755)
    assert program("runs") == "runs"


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        *product([signal.SIGINT, signal.SIGTERM], ["$ runsd serve", "s left"]),
        (signal.SIGINT, "$ kill -KILL"),
        (signal.SIGTERM, "# again"),
    ],
)
def test_interrupted_demo_leaves_nothing(place: Path, number: signal.Signals, moment: str) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(moment in line for line in process.stdout)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitStatus.INTERRUPTED
    assert err == "interrupted; the daemon is stopped and its directory removed\n"


def test_reader_that_goes_away_ends_the_demo(place: Path) -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert any("runs targets" in line for line in process.stdout)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(PATIENCE_SECONDS) == ExitStatus.CLOSED_PIPE


def test_settings_of_another_daemon_do_not_matter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "PROJECT", "PROJECTS", "API_TOKEN", "STATE_DIR", "RUN_ID"):
        monkeypatch.setenv(f"RUNSD_{name}", "/nonexistent")
    status, _, err = shown()
    assert (status, err) == (ExitStatus.COMPLETED, "")


def test_demo_without_the_daemon_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "find_spec", lambda name: None)
    status, _, err = shown()
    assert status is ExitStatus.FAILED
    assert "the daemon is not installed" in err and "pip install runsd" in err


def spoiled(file: str, spoil: Callable[[str], str]) -> Callable[[Path], str]:
    def create_spoiled(directory: Path) -> str:
        project_id = create_project(directory)
        path = directory / file
        path.write_text(spoil(path.read_text()))
        return project_id

    return create_spoiled


def test_daemon_that_does_not_start_is_shown_with_its_log(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "create_project", spoiled("runs.toml", lambda text: "nonsense"))
    status, _, err = shown()
    assert status is ExitStatus.FAILED
    assert "the daemon ended with status 2" in err
    assert "runs.toml: is not TOML" in err


def test_run_that_fails_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail = "import sys\nsys.exit('boom')\n"
    monkeypatch.setattr(show, "create_project", spoiled("sync_data.py", lambda text: fail))
    status, out, err = shown()
    assert status is ExitStatus.FAILED
    assert "boom" in out
    assert "of task:sync-data ended failed, not completed" in err
    assert '"event": "ready"' in err


def test_broken_definition_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "create_project", spoiled("tasks.py", lambda text: text.replace('"integer"', '"int"')))
    status, _, err = shown()
    assert status is ExitStatus.FAILED
    assert "a definition of the starter project is broken" in err


def on_kill(monkeypatch: pytest.MonkeyPatch, place: Path, spoil: Callable[[Path], object]) -> None:
    """Has `spoil` called with the demo's directory, while its daemon is dead."""
    kill = daemon.OwnDaemon.kill

    def kill_and_spoil(own: daemon.OwnDaemon) -> None:
        kill(own)
        spoil(next(place.glob("runsd-demo-*")))

    monkeypatch.setattr(daemon.OwnDaemon, "kill", kill_and_spoil)


@pytest.mark.usefixtures("only_the_workflow")
def test_daemon_that_does_not_come_back_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_kill(monkeypatch, place, lambda directory: (directory / "demo" / "runs.toml").write_text("nonsense"))
    status, out, err = shown()
    assert status is ExitStatus.FAILED
    assert out.splitlines()[-1].endswith("# again")
    assert "the daemon ended with status 2" in err
    assert "runs.toml: is not TOML" in err


@pytest.mark.usefixtures("only_the_workflow")
def test_daemon_that_comes_back_without_its_state_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(directory: Path) -> None:
        for file in (directory / "state").glob("runsd.db*"):
            file.unlink()

    on_kill(monkeypatch, place, forget)
    status, _, err = shown()
    assert status is ExitStatus.FAILED
    assert "the demo failed: there is no run" in err


@pytest.mark.usefixtures("only_the_workflow")
def test_workflow_that_goes_on_differently_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_first_step(directory: Path) -> None:
        path = directory / "demo" / "content.py"
        path.write_text(path.read_text().replace('ctx.step("research"', 'ctx.step("reading"'))

    on_kill(monkeypatch, place, other_first_step)
    status, out, err = shown()
    assert status is ExitStatus.FAILED
    assert "nondeterministic" in out
    assert "of workflow:content-pipeline ended failed, not completed" in err


@pytest.mark.usefixtures("only_the_workflow")
def test_workflow_without_a_child_run_fails_the_demo(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_child(text: str) -> str:
        return text.replace('await ctx.run("task:knowledge-ingest")', '{"chunks": 0}')

    monkeypatch.setattr(show, "create_project", spoiled("content.py", without_child))
    status, out, err = shown()
    assert status is ExitStatus.FAILED
    assert "$ kill" not in out
    assert "the workflow had no child run, so the daemon was not killed" in err


def test_processes_of_a_daemon_that_is_gone_are_ended(tmp_path: Path) -> None:
    def of_a_run(state_dir: Path) -> subprocess.Popen[str]:
        wait_for_input = "import sys; print('here', flush=True); sys.stdin.read()"
        process = subprocess.Popen(
            [sys.executable, "-c", wait_for_input],
            env={"RUNSD_STATE": str(state_dir / "kept" / "run")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "here\n"
        return process

    with of_a_run(tmp_path / "state") as left_over, of_a_run(tmp_path / "state-of-another") as other:
        end_leftovers(tmp_path / "state")
        assert left_over.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        other.communicate("")
        assert other.returncode == 0


def test_temporary_directory_is_short_enough_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with show._temporary_directory() as directory:
        assert daemon.socket_fits(directory)
    assert not directory.exists()


def test_documentation_is_there_without_the_language_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    write_documentation(tmp_path / "docs")
    texts = [path.read_text(encoding="utf-8") for path in (tmp_path / "docs").glob("*.md")]
    assert len(texts) > 50
    assert any(QUESTION in text for text in texts)
