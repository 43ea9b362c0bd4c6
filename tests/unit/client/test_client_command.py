"""The `runs` command against the fake daemon: what it writes and how it exits."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from runsd_client import __version__
from runsd_client.commands import connection
from runsd_client.commands.app import COMMANDS, app
from runsd_client.commands.terminal import Screen
from runsd_client.errors import UnreachableError
from runsd_client.proto import definitions_pb2, run_pb2
from typer.testing import CliRunner, Result

from tests.unit.client.fake_daemon import Failure, FakeDaemon


@pytest.fixture(autouse=True)
def in_the_environment(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", daemon.address)


def runs(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


def value(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def finish_soon(daemon: FakeDaemon, status: run_pb2.RunStatus.ValueType, run_id: str = "run-1") -> threading.Timer:
    timer = threading.Timer(0.05, daemon.finish, [run_id, status])
    timer.start()
    return timer


def test_start_writes_the_id(daemon: FakeDaemon) -> None:
    result = runs("start", "task:sync-data", "--input", '{"n": 18446744073709551617}', "--priority", "5")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "run-1\n", "")
    [sent] = daemon.requests("CreateRun")
    assert sent.input_json == '{"n":18446744073709551617}'
    assert (sent.priority, sent.trigger_kind) == (5, run_pb2.TRIGGER_KIND_MANUAL)
    assert not sent.HasField("timeout_seconds")


def test_start_as_json_is_the_answer() -> None:
    answer = value(runs("start", "workflow:w", "--json", "--idempotency-key", "k"))
    assert (answer["accepted"], answer["duplicate"], answer["run"]["kind"]) == (True, False, "workflow")
    again = runs("start", "workflow:w", "--json", "--idempotency-key", "k")
    assert value(again)["duplicate"] is True
    assert "before" in again.stderr


def test_documents_from_a_file_and_stdin(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('\ufeff{"a": "ä"}')
    runs("start", "task:a", "--input", f"@{tmp_path}/in.json", "--config", "@-", stdin="[1]")
    [sent] = daemon.requests("CreateRun")
    assert (sent.input_json, sent.config_json) == ('{"a":"ä"}', "[1]")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "{topic: 1}"], ["line 1 column 2", "'{topic: 1}'", '{"topic": "AI agents"}', "@FILE"]),
        (["--metadata", ""], ["no JSON", '{"team": "data"}']),
        (["--config", "@/nowhere.json"], ["cannot read /nowhere.json: No such file"]),
        (["--priority", "high"], ["--priority"]),
        (["--input", "1e400"], ["runs: --input: "]),
    ],
)
def test_wrong_usage_is_explained(daemon: FakeDaemon, arguments: list[str], said: list[str]) -> None:
    result = runs("start", "task:a", *arguments)
    assert result.exit_code == 2
    assert all(part in result.stderr for part in said), result.stderr
    assert daemon.requests("CreateRun") == []


@pytest.mark.parametrize("option", ["--input", "--config", "--metadata"])
@pytest.mark.parametrize("source", ["-", "file"])
def test_deep_json_is_refused(daemon: FakeDaemon, tmp_path: Path, option: str, source: str) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    (tmp_path / "deep.json").write_text(deep)
    given = "-" if source == "-" else f"@{tmp_path / 'deep.json'}"
    result = runs("start", "task:x", option, given, stdin=deep)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.output
    assert option in result.stderr and "nested too deeply" in result.stderr and "Traceback" not in result.stderr
    assert not daemon.requests("CreateRun")


def test_what_the_daemon_refuses_is_wrong_usage(daemon: FakeDaemon) -> None:
    refused = Failure(grpc.StatusCode.INVALID_ARGUMENT, "target: x", "INVALID_REQUEST", (("target", "x"),))
    daemon.state.failures["CreateRun"].append(refused)
    result = runs("start", "sync")
    assert (result.exit_code, result.stderr) == (2, "runs: target: x\n")


def test_what_is_refused_is_named_as_it_was_typed(daemon: FakeDaemon) -> None:
    faults = {
        "config_json": "at $: no",
        "input_json": "no",
        "metadata_json": "no",
        "backoff_limit": "no",
        "timeout_seconds": "no",
        "expires_after_seconds": "must be more than start_after_seconds",
        "after_event_id": "no 'run_id'",
        "page_token": "no",
        "statuses[1]": "7 is no status",
        "created_by": "no",
    }
    message = "; ".join(f"{field}: {said}" for field, said in faults.items())
    failure = Failure(grpc.StatusCode.INVALID_ARGUMENT, message, "INVALID_REQUEST", tuple(faults.items()))
    daemon.state.failures["CreateRun"].append(failure)
    assert runs("start", "task:a").stderr == (
        "runs: --config: at $: no; --input: no; --metadata: no; --retries: no; --timeout: no;"
        " --expires: must be more than --delay; --after: no 'run_id'; --page-token: no; --status: 7 is no status;"
        " created_by: no\n"
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.NOT_FOUND, 2),
        (grpc.StatusCode.ALREADY_EXISTS, 2),
        (grpc.StatusCode.FAILED_PRECONDITION, 2),
        (grpc.StatusCode.UNAUTHENTICATED, 2),
        (grpc.StatusCode.DATA_LOSS, 1),
    ],
)
def test_a_refusal_is_not_a_run_that_failed(daemon: FakeDaemon, code: grpc.StatusCode, status: int) -> None:
    daemon.state.failures["CreateRun"].append(Failure(code, "no", "NO"))
    assert runs("start", "task:typo", "--wait").exit_code == status


ENDINGS = [
    (run_pb2.RUN_STATUS_COMPLETED, 0),
    (run_pb2.RUN_STATUS_FAILED, 1),
    (run_pb2.RUN_STATUS_CANCELLED, 3),
]


@pytest.mark.parametrize(("status", "exit_code"), ENDINGS)
@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_start_exits_as_the_run_ends(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, how: str, status: run_pb2.RunStatus.ValueType, exit_code: int
) -> None:
    when_asked = {"--wait": "WaitRun", "--follow": "ListEvents"}[how]

    def finish_when_asked() -> None:
        while not daemon.requests(when_asked):
            threading.Event().wait(0.005)
        daemon.finish("run-1", status)

    finishing = threading.Thread(target=finish_when_asked)
    finishing.start()
    result = runs("start", "task:a", how)
    finishing.join()
    assert result.exit_code == exit_code
    ending = run_pb2.RunStatus.Name(status).removeprefix("RUN_STATUS_").lower()
    assert f"run-1 {ending}\n" in result.stdout


def test_follow_as_json_ends_with_the_record(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(status=run_pb2.RUN_STATUS_FAILED)
    daemon.emit(run_id, "run.failed", {})

    def finish() -> None:
        while "run-2" not in daemon.state.runs:
            threading.Event().wait(0.005)
        daemon.emit_logs("run-2", ["a\n", "b"])
        daemon.finish("run-2", output=[2**65])

    finishing = threading.Thread(target=finish)
    finishing.start()
    result = runs("retry", run_id, "--follow", "--json")
    finishing.join()
    *events, record = lines(result)
    assert result.exit_code == 0
    assert [e["event_id"] for e in events] == [1, 2, 3, 4]
    assert events[1].keys() == {"event_id", "event_type", "payload", "created_at"}
    assert (record["run_id"], record["output"]) == ("run-2", [2**65])


def test_wait_as_json_is_the_run(daemon: FakeDaemon) -> None:
    daemon.add_run()
    finishing = finish_soon(daemon, run_pb2.RUN_STATUS_CANCELLED)
    result = runs("wait", "run-1", "--json")
    finishing.join()
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (3, "cancelled")


def test_wait_that_takes_too_long(daemon: FakeDaemon) -> None:
    daemon.add_run()
    result = runs("wait", "run-1", "--timeout", "0.01")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is running after 0.01 s" in result.stderr


def test_get(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(
        name="Sync\x1b", logs="one\ntwo", error=run_pb2.RunError(message="no", code="exit_code"), exit_code=0
    )
    shown = runs("get", run_id).stdout
    assert "name             Sync\\x1b\n" in shown
    assert "error            exit_code: no\n" in shown
    assert "exit_code        0\n" in shown
    assert shown.endswith("logs\none\ntwo\n")
    assert value(runs("get", run_id, "--json"))["error"]["code"] == "exit_code"


def test_get_shows_a_traceback_as_lines(daemon: FakeDaemon) -> None:
    detail = {"type": "ValueError", "traceback": 'Traceback:\n  File "tasks.py"\nValueError: no\n'}
    error = run_pb2.RunError(message="ValueError: no", code="exception", detail_json=json.dumps(detail))
    failed = daemon.add_run(error=error, status=run_pb2.RUN_STATUS_FAILED)
    assert runs("get", failed).stdout.endswith(
        'error            exception: ValueError: no\nerror detail     {"type": "ValueError"}\n'
        'traceback\nTraceback:\n  File "tasks.py"\nValueError: no\n'
    )
    odd = daemon.add_run(error=run_pb2.RunError(message="no", code="own", detail_json='{"traceback": [1]}'))
    assert runs("get", odd).stdout.endswith('error detail     {"traceback": [1]}\n')


def waiting_workflow(daemon: FakeDaemon) -> str:
    steps = [
        run_pb2.Step(
            step_id="research", name="research", kind=run_pb2.STEP_KIND_FUNCTION, state=run_pb2.STEP_STATE_COMPLETED
        ),
        run_pb2.Step(
            step_id="review",
            name="review",
            kind=run_pb2.STEP_KIND_APPROVAL,
            state=run_pb2.STEP_STATE_WAITING,
            detail="Please\x1b[2J",
        ),
    ]
    return daemon.add_run("workflow:w", status=run_pb2.RUN_STATUS_WAITING, steps=steps, logs="said\n")


def test_get_shows_the_steps(daemon: FakeDaemon) -> None:
    result = runs("get", waiting_workflow(daemon))
    assert result.stdout.endswith("steps\n  research completed\n  review waiting approval Please\\x1b[2J\nlogs\nsaid\n")
    assert "steps_truncated" not in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("status", "label"), [(run_pb2.RUN_STATUS_WAITING, "goes on by"), (run_pb2.RUN_STATUS_PENDING, "start_after")]
)
def test_get_says_when_a_run_goes_on(daemon: FakeDaemon, status: run_pb2.RunStatus.ValueType, label: str) -> None:
    run_id = daemon.add_run("workflow:w", status=status)
    daemon.state.runs[run_id].start_after.FromDatetime(datetime(2031, 5, 1, 12, tzinfo=UTC))
    assert f"{label:<16} 2031-05-01T12:00:00.000Z\n" in runs("get", run_id).stdout
    assert value(runs("get", run_id, "--json"))["start_after"] == "2031-05-01T12:00:00.000Z"


def test_list_shows_how_long_a_run_has_been_executing(daemon: FakeDaemon) -> None:
    run = daemon.state.runs[daemon.add_run()]
    run.started_at.FromDatetime(datetime.now(UTC) - timedelta(hours=2, minutes=3, seconds=30))
    daemon.add_run(status=run_pb2.RUN_STATUS_PENDING)
    executing, pending = runs("list").stdout.splitlines()[1:]
    assert executing.endswith("  2h 3m")
    assert pending.endswith("Z")


def test_list(daemon: FakeDaemon) -> None:
    for n in range(3):
        daemon.add_run(name=f"name {n}\n")
    result = runs("list", "--limit", "2")
    assert result.stdout.splitlines()[0].split() == ["RUN", "STATUS", "TARGET", "NAME", "CREATED", "TOOK"]
    assert len(result.stdout.splitlines()) == 3
    assert "2027-01-15T08:00:00.000Z" in result.stdout
    assert "--page-token 2" in result.stderr
    page = value(runs("list", "--limit", "2", "--page-token", "2", "--json"))
    assert ([r["run_id"] for r in page["data"]], page["page_info"]["next"]) == (["run-3"], "")
    assert len(value(runs("list", "--all", "--limit", "1", "--json"))["data"]) == 3


def test_list_filters(daemon: FakeDaemon) -> None:
    runs(
        "list",
        "--status",
        "failed",
        "--status",
        "cancelled",
        "--kind",
        "task",
        "--metadata",
        '{"a": 1}',
        "--batch",
        "b",
    )
    [sent] = daemon.requests("ListRuns")
    assert list(sent.statuses) == [run_pb2.RUN_STATUS_FAILED, run_pb2.RUN_STATUS_CANCELLED]
    assert (sent.kind, sent.metadata_json, sent.batch_id) == (run_pb2.RUN_KIND_TASK, '{"a":1}', "b")
    wrong = runs("list", "--status", "done")
    assert wrong.exit_code == 2
    assert "pending, running, waiting" in wrong.stderr


def test_events(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    daemon.emit_logs(run_id, ["out\n"])
    daemon.emit(run_id, "my.event", {"a": [1]})
    shown = runs("events", run_id, "--limit", "10").stdout.splitlines()
    assert shown[1] == "out"
    assert shown[0] == "1 2027-01-15T08:00:00.000Z run.created"
    assert shown[2] == '3 2027-01-15T08:00:00.002Z my.event {"a": [1]}'
    page = value(runs("events", run_id, "--after", "1", "--limit", "1", "--json"))
    assert [e["event_id"] for e in page["data"]] == [2]
    assert runs("events", run_id, "--follow", "--limit", "1").exit_code == 2


def test_events_follow(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    finishing = finish_soon(daemon, run_pb2.RUN_STATUS_FAILED)
    result = runs("events", run_id, "--follow", "--json")
    finishing.join()
    assert [e["event_type"] for e in lines(result)] == ["run.created", "run.failed"]
    assert result.exit_code == 0


def test_events_follow_ends_as_wait_does(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(error=run_pb2.RunError(message="no\nmore", code="exit_code"), duration_ms=75)
    daemon.finish(run_id, run_pb2.RUN_STATUS_FAILED, output=[1])
    followed, waited = runs("events", run_id, "-f"), runs("wait", run_id)
    assert waited.stdout == "run-1 failed 75ms\n[1]\n"
    assert waited.stderr == "runs: exit_code: no more\n"
    assert followed.stdout.endswith(f"run.failed\n{waited.stdout}")
    assert followed.stderr == waited.stderr
    listed = runs("events", run_id)
    assert (listed.stdout.splitlines()[-1].split()[-1], listed.stderr) == ("run.failed", "")


def test_logs_are_byte_exact(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    daemon.emit_logs(run_id, ["a\r\n", "\x1b[1mbold", "ä"])
    broken = base64.b64encode(b"\xff\x00\n").decode()
    daemon.emit(run_id, "log", {"stream": "stdout", "text": "��", "base64": broken})
    daemon.emit_logs(run_id, ["oops"], stream="stderr")
    daemon.emit_logs(run_id, ["note"], stream="system")
    result = runs("logs", run_id)
    assert result.stdout_bytes == b"a\r\n\x1b[1mbold\xc3\xa4\xff\x00\n"
    assert result.stderr_bytes == b"oopsnote"
    finishing = finish_soon(daemon, run_pb2.RUN_STATUS_COMPLETED)
    assert runs("logs", run_id, "-f").stdout_bytes == result.stdout_bytes
    finishing.join()


def test_cancel_several(daemon: FakeDaemon) -> None:
    first = daemon.add_run()
    second = daemon.add_run(status=run_pb2.RUN_STATUS_COMPLETED)
    result = runs("cancel", first, "nowhere", second, "--reason", "enough")
    assert result.exit_code == 2
    assert result.stdout == "run-1 cancelled\nrun-2 completed had ended already\n"
    assert result.stderr == "runs: there is no run 'nowhere'\n"
    assert [a["cancelled"] for a in lines(runs("cancel", first, second, "--json"))] == [False, False]


def test_retry_of_what_has_not_failed(daemon: FakeDaemon) -> None:
    result = runs("retry", daemon.add_run())
    assert (result.exit_code, result.stderr) == (2, "runs: run run-1 has not failed\n")


def test_retry_from_the_failed_step(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run("workflow:w", status=run_pb2.RUN_STATUS_FAILED)
    assert runs("retry", run_id, "--from-failed-step").stdout == "run-2\n"
    assert daemon.requests("RetryRun")[0].from_failed_step


def test_signal(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(status=run_pb2.RUN_STATUS_WAITING)
    result = runs("signal", run_id, "docs-ready", "--payload", '{"n": 1}', "--key", "k")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "run-1 waiting has signal docs-ready\n", "")
    [sent] = daemon.requests("SignalRun")
    assert (sent.name, sent.payload_json, sent.idempotency_key) == ("docs-ready", '{"n":1}', "k")
    again = runs("signal", run_id, "docs-ready", "--idempotency-key", "k", "--json")
    assert value(again).keys() == {"accepted", "duplicate", "run"}
    assert "made this signal before" in again.stderr
    daemon.finish(run_id)
    assert [runs("signal", run, "s").exit_code for run in (run_id, "nowhere")] == [2, 2]


@pytest.mark.parametrize("source", ["-", "@-", "@FILE"])
def test_payload_from_a_file_and_stdin(daemon: FakeDaemon, tmp_path: Path, source: str) -> None:
    (tmp_path / "p.json").write_text("[1]")
    source = source.replace("FILE", f"{tmp_path}/p.json")
    assert runs("signal", daemon.add_run(), "s", "--payload", source, stdin="[1]").exit_code == 0
    assert daemon.requests("SignalRun")[0].payload_json == "[1]"


@pytest.mark.parametrize(
    ("command", "approved", "said"), [("approve", True, "approved"), ("reject", False, "rejected")]
)
def test_decide(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, command: str, approved: bool, said: str) -> None:
    monkeypatch.setenv("LOGNAME", "anna")
    run_id = daemon.add_run(status=run_pb2.RUN_STATUS_WAITING)
    result = runs(command, run_id, "review")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"run-1 waiting {said} review\n", "")
    decided = runs(command, run_id, "next", "--by", "ben", "--comment", "why", "--data", "[1]", "--json")
    assert value(decided) == value(runs("get", run_id, "--json"))
    first, second = daemon.requests("DecideApproval")
    assert (first.run_id, first.name, first.approved, first.by) == (run_id, "review", approved, "anna")
    assert (second.by, second.comment, second.data_json) == ("ben", "why", "[1]")
    other = runs("reject" if approved else "approve", run_id, "review")
    assert (other.exit_code, other.stdout, other.stderr) == (2, "", "runs: review has been decided by anna\n")


def test_a_decision_that_is_refused(daemon: FakeDaemon) -> None:
    failures = daemon.state.failures["DecideApproval"]
    failures.append(Failure(grpc.StatusCode.PERMISSION_DENIED, "only ben may decide 'review'", "NOT_AN_APPROVER"))
    result = runs("approve", daemon.add_run(), "review")
    assert (result.exit_code, result.stderr) == (2, "runs: only ben may decide 'review'\n")
    faults = {"name": "too long", "data_json": "at $: no", "by": "too long", "comment": "too long"}
    failures.append(Failure(grpc.StatusCode.INVALID_ARGUMENT, "no", "INVALID_REQUEST", tuple(faults.items())))
    result = runs("reject", "run-1", "review")
    assert (result.exit_code, result.stderr) == (
        2,
        "runs: NAME: too long; --data: at $: no; --by: too long; --comment: too long\n",
    )
    wrong = runs("approve", "run-1", "review", "--data", "{")
    assert (wrong.exit_code, "--data" in wrong.stderr) == (2, True)
    assert len(daemon.requests("DecideApproval")) == 2


def test_a_followed_run_says_how_to_decide(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run("workflow:w")
    daemon.emit(run_id, "approval.requested", {"step_id": "s", "name": "editor review", "message": "Please"})
    daemon.finish(run_id)
    followed = runs("events", run_id, "-f").stdout
    assert "approval.requested editor review: Please -> runs approve run-1 'editor review'\n" in followed
    listed = runs("events", run_id, "--limit", "10").stdout
    assert "approval.requested editor review: Please\n" in listed


def test_targets_tells_what_could_not_be_read(daemon: FakeDaemon) -> None:
    daemon.state.targets.append(definitions_pb2.Target(target="task:a", adapter="subprocess"))
    daemon.state.problems.append(definitions_pb2.DefinitionProblem(file="odd.py", message="line 1: invalid syntax"))
    result = runs("targets")
    assert result.exit_code == 0 and "task:a" in result.stdout
    assert "not all targets are known: odd.py: line 1: invalid syntax" in result.stderr
    shown = value(runs("targets", "--json"))
    assert shown["problems"] == [{"file": "odd.py", "key": "", "message": "line 1: invalid syntax"}]


def test_targets_and_reload(daemon: FakeDaemon) -> None:
    problem = definitions_pb2.DefinitionProblem(file="runs.toml", key="tasks.b", message="no command")
    daemon.state.targets += [
        definitions_pb2.Target(target="task:a", adapter="subprocess", description="Does a"),
        definitions_pb2.Target(target="task:b", problems=[problem]),
    ]
    for command, status in (("targets", 0), ("reload", 2)):
        result = runs(command)
        assert result.exit_code == status
        listed = "task:a  subprocess  ok      Does a\n"
        assert listed in result.stdout if command == "targets" else result.stdout == "2 targets, 1 of them broken\n"
        assert "runs.toml: tasks.b: no command" in result.stderr
        result = runs(command, "--json")
        assert result.exit_code == status
        shown = json.loads(result.stdout)
        assert [t["target"] for t in shown["data"]] == ["task:a", "task:b"]
    assert shown["problems"][0]["key"] == "tasks.b"
    daemon.state.targets.pop()
    result = runs("reload")
    assert (result.exit_code, result.stdout) == (0, "1 target\n")


def test_artifacts(daemon: FakeDaemon, tmp_path: Path) -> None:
    run_id = daemon.add_run()
    for name in ("a.txt", "d/b.txt", "c.txt"):
        daemon.add_file(run_id, name, name.encode())
    assert len(runs("artifacts", run_id).stdout.splitlines()) == 4
    shown = value(runs("artifacts", run_id, "--download", str(tmp_path / "new"), "--json"))
    assert [a["name"] for a in shown["data"]] == ["a.txt", "d/b.txt", "c.txt"]
    assert (tmp_path / "new" / "d" / "b.txt").read_text() == "d/b.txt"
    (tmp_path / "file").touch()
    failed = runs("artifacts", run_id, "--download", str(tmp_path / "file"))
    assert (failed.exit_code, failed.stderr) == (1, f"runs: {tmp_path}/file: File exists\n")


def test_an_artifact_with_a_hostile_name(daemon: FakeDaemon, tmp_path: Path) -> None:
    run_id = daemon.add_run()
    daemon.add_file(run_id, "../\x1bout", b"x")
    result = runs("artifacts", run_id, "--download", str(tmp_path / "in"))
    assert result.exit_code == 1
    assert "outside of" in result.stderr
    assert "\x1b" not in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of the client, which does not wait for them to be over."""
    waited: list[float] = []
    monkeypatch.setattr("runsd_client.sync_client.time", SimpleNamespace(sleep=waited.append, monotonic=time.monotonic))
    return waited


def test_no_daemon(daemon: FakeDaemon, delays: list[float]) -> None:
    daemon.stop()
    for arguments in (["list"], ["start", "task:a", "--follow"], ["wait", "r"], ["events", "r", "-f"]):
        result = runs(*arguments)
        assert (result.exit_code, result.stdout) == (4, "")
        assert result.stderr.count("\n") == 1
        assert "`runsd serve` starts one" in result.stderr
        assert 2.5 <= sum(delays) <= 3.5
        delays.clear()


def test_a_daemon_that_is_just_starting(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.stop()
    waited: list[float] = []

    def start_late(seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) > 1:
            daemon.start()
            time.sleep(seconds)  # gRPC does not look again at once

    monkeypatch.setattr("runsd_client.sync_client.time", SimpleNamespace(sleep=start_late, monotonic=time.monotonic))
    result = runs("start", "task:a")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "run-1\n", "")


@pytest.mark.parametrize(("is_terminal", "noted"), [(True, [0.88, 1.76, 5.0]), (False, [5.0])])
def test_who_waits_is_told_and_a_log_of_lost_connections(is_terminal: bool, noted: list[float]) -> None:
    err = io.StringIO()
    file = SimpleNamespace(isatty=lambda: is_terminal, write=err.write, flush=err.flush)
    told = connection.teller(Screen(io.StringIO(), file))  # type: ignore[arg-type]
    for delay in (0.22, 0.44, 0.88, 1.76, 5.0):
        told(UnreachableError("gone", "unix:/d"), delay)
    assert err.getvalue().count("no daemon at unix:/d; next try in") == len(noted)


def test_a_refused_connection_is_said_without_noise(delays: list[float]) -> None:
    assert runs("list", "--address", "127.0.0.1:1").stderr.startswith(
        "runs: no daemon at 127.0.0.1:1: Connection refused; `runsd serve`"
    )


def test_a_wrong_address_is_wrong_usage() -> None:
    result = runs("list", "--address", "nowhere")
    assert (result.exit_code, "host:port" in result.stderr) == (2, True)


def test_project_and_address_of_a_command(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", "unix:/nowhere.sock")
    assert runs("list", "--address", daemon.address.removeprefix("unix:"), "--project", "p").exit_code == 0
    assert daemon.requests("ListRuns")[0].project == "p"


def test_help_and_version() -> None:
    assert runs("--version").stdout == f"runs {__version__}\n"
    shown = runs("--help").stdout
    assert all(f"  {name} " in shown for name in COMMANDS)
    for name in COMMANDS.keys() - {"init", "demo"}:
        shown = runs(name, "--help").stdout
        assert all(option in shown for option in ("--address", "--json"))
        assert ("--project" in shown) == (name != "drain"), "which is the daemon's, not a project's"


def test_help_says_what_json_is_and_how_it_exits() -> None:
    shown = runs("--help").stdout
    assert all(f"\n    {status} " in shown for status in (0, 1, 2, 3, 4, 130))
    start = " ".join(runs("start", "--help").stdout.split())
    assert "{accepted, duplicate, run}; with --wait the run; with --follow an event a line, and last the run" in start
    assert "0.0" not in start
    assert "default: 0" not in runs("events", "--help").stdout
    for name in COMMANDS.keys() - {"init", "demo"}:
        assert "Write JSON: " in runs(name, "--help").stdout


def test_the_library_alone_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; import runsd_client.cli as c; c.main()"
    result = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    said = "runs: install `runsd-client[cli]` to use this command; typer is missing\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", said)


def process(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "runsd_client.cli", *arguments], **options)


def wait_for_request(daemon: FakeDaemon, method: str) -> None:
    for _ in range(2000):
        if daemon.requests(method):
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"no {method} came")


def test_ctrl_c_leaves_the_run_alone(daemon: FakeDaemon) -> None:
    with process("start", "task:a", "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        wait_for_request(daemon, "Events")
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=10)
    assert following.returncode == 130
    assert b"run run-1 goes on; follow it with `runs events run-1 --follow`" in said
    assert b"Traceback" not in said
    assert daemon.requests("CancelRun") == []


def test_watch_until_ctrl_c(daemon: FakeDaemon) -> None:
    daemon.add_run()
    with process("watch", "--after", "0", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=10)
    assert (first["run_id"], first["event"]["event_type"]) == ("run-1", "run.created")
    assert (watching.returncode, said) == (130, b"")


def test_a_closed_pipe_is_quiet(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    with process("events", run_id, "-f", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.stdout.close()
        daemon.emit(run_id, "my.event", {})
        said = following.stderr.read()
        following.wait(10)
    assert (following.returncode, said) == (141, b"")


def on_a_terminal(*arguments: str, columns: int = 200) -> tuple[int, bytes]:
    """The exit status, and all that the terminal got."""
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    with process(*arguments, stdout=theirs, stderr=theirs, stdin=theirs, env=environ) as running:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        status = running.wait(10)
    os.close(ours)
    return status, shown


def test_on_a_real_terminal(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run(name="\x1b]0;owned\x07")
    status, shown = on_a_terminal("list")
    assert status == 0
    assert run_id.encode() in shown
    assert b"\x1b[34mrunning" in shown
    assert b"\\x1b]0;owned\\x07" in shown
    assert b"\x1b]0" not in shown


def test_steps_on_a_real_terminal(daemon: FakeDaemon) -> None:
    run_id = waiting_workflow(daemon)
    status, shown = on_a_terminal("get", run_id)
    assert status == 0
    assert "└─".encode() in shown
    assert b"\x1b[35mwaiting" in shown
    assert b"Please\\x1b[2J" in shown
    assert b"\x1b[2J" not in shown
    assert b"`runs approve run-1 review`" in shown


def test_a_list_on_a_narrow_terminal_breaks_no_target(daemon: FakeDaemon) -> None:
    daemon.add_run(target="task:one-with-a-long-name", name="n" * 30)
    _, shown = on_a_terminal("list", columns=50)
    assert b"task:one-with-a-long-name" in shown
    assert b"nnnnnnnn" not in shown.replace(b"\n", b"")
    assert shown.count(b"\n") == 2


def test_events_of_a_finished_run_on_a_terminal_are_all_there(daemon: FakeDaemon) -> None:
    run_id = daemon.add_run()
    for n in range(2):
        daemon.emit(run_id, "progress", {"fraction": n / 2, "message": "so far"})
    daemon.finish(run_id)
    _, listed = on_a_terminal("events", run_id, "--limit", "10")
    assert b"0% so far" in listed and b"50% so far" in listed
    _, followed = on_a_terminal("events", run_id, "--follow")
    assert b"50% so far" not in followed
    assert b"\x1b[32mcompleted" in followed


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_a_defect_is_one_line() -> None:
    code = "import runsd_client.commands.app as c; c.app = lambda **_: 1 / 0; c.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith(b"runs: defect of this command: ZeroDivisionError")
    assert result.stderr.count(b"\n") == 1
