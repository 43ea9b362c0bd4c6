"""What becomes of a run, in each adapter, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from runsd_client import AsyncRunsClient, Event, Run, RunStatus

from tests.integration.daemon import Daemon


async def run_to_the_end(client: AsyncRunsClient, target: str, **options: Any) -> tuple[Run, list[Event]]:
    run_id = (await client.create_task_run(target, **options)).run.run_id
    events = [event async for event in client.follow(run_id)]
    return await client.get(run_id), events


def types(events: Sequence[Event]) -> list[str]:
    return [event.event_type for event in events]


def text(events: list[Event], stream: str = "stdout") -> str:
    return "".join(e.payload["text"] for e in events if e.event_type == "log" and e.payload["stream"] == stream)


async def test_process_is_recorded_whole(client: AsyncRunsClient) -> None:
    given = {"n": 2**63 + 1, "text": "é ☃"}
    run, events = await run_to_the_end(client, "task:echo", input=given, config={"batchSize": 100}, name="a name")
    assert run.status is RunStatus.COMPLETED
    assert run.output == run.input == given
    assert (run.exit_code, run.error, run.attempt, run.name, run.project) == (0, None, 1, "a name", "proving-ground")
    assert run.created_at and run.started_at and run.completed_at
    assert run.created_at <= run.started_at <= run.completed_at
    assert run.duration_ms is not None and run.root_run_id == run.run_id
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    assert types(events)[:2] == ["run.created", "run.started"]
    assert types(events)[-1] == "run.completed"
    assert (text(events), text(events, "stderr")) == ("to stdout\n", "to stderr\n")
    assert [e.payload for e in events if e.event_type == "echo.config"] == [{"config": {"batchSize": 100}}]
    assert [artifact.name for artifact in run.artifacts] == ["note.txt"]


@pytest.mark.parametrize("task", ["speak", "speak/threaded", "speak/subprocess", "speak/subprocess-async"])
async def test_context_is_the_same_in_every_adapter(client: AsyncRunsClient, task: str) -> None:
    run, events = await run_to_the_end(client, f"task:{task}", config=[1])
    assert (run.status, run.output) == (RunStatus.COMPLETED, {"attempt": 1})
    assert types(events) == [
        "run.created", "run.started", "log", "progress", "rows.loaded", "artifact", "run.completed",
    ]  # fmt: skip
    assert [event.payload for event in events[2:5]] == [
        {"stream": "stdout", "text": "a line\n"},
        {"fraction": 0.5, "message": "half way"},
        {"rows": 3, "config": [1]},
    ]
    assert b"".join([data async for data in client.read_artifact(run.run_id, "report/rows.csv")]) == b"a,b\n"


async def test_environment_is_the_allowlist_and_the_contract(client: AsyncRunsClient, daemon: Daemon) -> None:
    run, events = await run_to_the_end(client, "task:environment")
    environment = dict(line.split("=", 1) for line in text(events).splitlines())
    assert environment["GREETING"] == "hello"
    assert environment["PASSED_ON"] == "allowed"
    assert environment["RUNSD_RUN_ID"] == run.run_id
    assert environment["RUNSD_ADDRESS"] == daemon.address
    assert not [name for name in environment if "SECRET" in name or name == "RUNSD_API_TOKEN"]


async def test_process_inherits_no_descriptor_of_the_daemon(client: AsyncRunsClient) -> None:
    _, events = await run_to_the_end(client, "task:descriptors")
    # 3 is the directory that `ls` itself reads.
    assert set(text(events).split()) <= {"0", "1", "2", "3"}


@pytest.mark.parametrize("status", [1, 3, 127, 255])
async def test_exit_status_fails_the_run(client: AsyncRunsClient, status: int) -> None:
    run, events = await run_to_the_end(client, "task:exit-status", input=status)
    assert (run.status, run.exit_code) == (RunStatus.FAILED, status)
    assert run.error and run.error.code == "exit_code"
    assert events[-1].event_type == "run.failed"
    assert events[-1].payload["exit_code"] == status


@pytest.mark.parametrize(("name", "number"), [("KILL", 9), ("TERM", 15), ("SEGV", 11)])
async def test_signal_is_named(client: AsyncRunsClient, name: str, number: int) -> None:
    run, _ = await run_to_the_end(client, "task:own-signal", input=number)
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 128 + number)
    assert run.error and run.error.code == "signal"
    assert f"SIG{name}" in run.error.message


async def test_missing_program_is_told(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:missing-program")
    assert (run.status, run.exit_code) == (RunStatus.FAILED, 127)
    assert run.error and "not found" in run.error.message
    assert "no-such-program" in text(events, "stderr")


@pytest.mark.parametrize("task", ["raise", "raise/subprocess"])
async def test_exception_is_told_with_its_traceback(client: AsyncRunsClient, task: str) -> None:
    run, _ = await run_to_the_end(client, f"task:{task}")
    assert run.error is not None
    assert (run.error.code, run.error.message) == ("exception", "ValueError: what was wrong")
    assert run.error.detail["traceback"].rstrip().endswith("ValueError: what was wrong")
    assert "proving_tasks.py" in run.error.detail["traceback"]


async def test_callable_that_exits_or_returns_nonsense_fails_alone(client: AsyncRunsClient) -> None:
    exits, _ = await run_to_the_end(client, "task:exit")
    assert exits.error and exits.error.code == "exception" and "SystemExit" in exits.error.message
    nonsense, _ = await run_to_the_end(client, "task:not-json")
    assert nonsense.error and nonsense.error.code == "output_invalid" and "$.now" in nonsense.error.message


async def test_process_may_say_why_it_failed(client: AsyncRunsClient) -> None:
    told = {"message": "the source is gone", "code": "source_gone", "detail": {"url": "ftp://x"}}
    script = f"""echo '{json.dumps(told)}' >"$RUNSD_ERROR"; exit 4"""
    run, _ = await run_to_the_end(client, "task:script", input=script)
    assert run.error and run.error.to_dict() == told
    assert run.exit_code == 4


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo '{' >$RUNSD_OUTPUT", "is not JSON"),
        ("echo 'NaN' >$RUNSD_OUTPUT", "is not a JSON number"),
        (r"printf '\377' >$RUNSD_OUTPUT", "is not UTF-8"),
        ("head -c 2000000 /dev/zero | tr '\\0' 1 >$RUNSD_OUTPUT", "bytes"),
        ("ln -s /etc/passwd $RUNSD_OUTPUT", "cannot be read"),
        ("mkdir $RUNSD_OUTPUT", "is not a regular file"),
        ("mkfifo $RUNSD_OUTPUT", "is not a regular file"),
    ],
)
async def test_output_that_is_none(client: AsyncRunsClient, script: str, told: str) -> None:
    run, _ = await run_to_the_end(client, "task:script", input=script, backoff_limit=2)
    assert run.status is RunStatus.FAILED
    assert run.error and run.error.code == "output_invalid"
    assert told in run.error.message
    assert run.attempt == 1, "what is wrong with an output is wrong again"


async def test_output_is_held_against_its_schema(client: AsyncRunsClient) -> None:
    good, _ = await run_to_the_end(client, "task:checked", input={"n": 10})
    assert (good.status, good.output) == (RunStatus.COMPLETED, {"n": 10})
    bad, _ = await run_to_the_end(client, "task:checked", input={"n": 11})
    assert bad.error and bad.error.code == "output_invalid" and "n" in bad.error.message


async def test_retries_share_the_state_directory(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:fails-twice")
    assert (run.status, run.attempt, run.error) == (RunStatus.COMPLETED, 3, None)
    assert text(events) == "attempt 1\nattempt 2\nattempt 3\n"
    assert types(events) == [
        "run.created", "run.started", "run.retrying", "run.started", "run.retrying", "run.started", "log",
        "run.completed",
    ]  # fmt: skip
    delays = [e.payload["delay_seconds"] for e in events if e.event_type == "run.retrying"]
    assert delays == [0.01, 0.02]


async def test_retries_end(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:exit-status", input=5, backoff_limit=2)
    assert (run.status, run.attempt, run.exit_code) == (RunStatus.FAILED, 3, 5)
    assert types(events).count("run.retrying") == 2


@pytest.mark.parametrize("task", ["script", "wait-for-ever", "wait-for-ever/threaded", "deaf"])
async def test_timeout_ends_the_attempt(client: AsyncRunsClient, task: str) -> None:
    run, events = await run_to_the_end(client, f"task:{task}", input="exec sleep 1000", timeout_seconds=0.2)
    assert run.status is RunStatus.FAILED
    assert run.error and run.error.code == "timeout"
    assert types(events)[-1] == "run.failed"


async def test_events_that_are_none_are_told_and_skipped(client: AsyncRunsClient) -> None:
    lines = [
        "not json",
        '{"event_type": "run.completed", "payload": {}}',
        '{"event_type": "a b"}',
        '{"event_type": "list", "payload": []}',
        '{"event_type": "number", "payload": {"x": NaN}}',
        '{"event_type": "good.one", "payload": {"n": 1}}',
        "",
        '{"event_type": "surrogate", "payload": {"s": "\\ud800"}}',
        '{"event_type": "last", "payload": {}}',
    ]
    text_of_lines = "\n".join(lines)
    last = """printf '{"event_type": "no.newline"}' >>$RUNSD_EVENTS"""
    script = f"cat >>$RUNSD_EVENTS <<'END'\n{text_of_lines}\nEND\n{last}"
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.status is RunStatus.COMPLETED
    own = [t for t in types(events) if not t.startswith("run.") and t != "log"]
    assert own == ["good.one", "last", "no.newline"]
    complaints = text(events, "system").splitlines()
    assert len(complaints) == 6
    assert all("a line was skipped" in line for line in complaints)
    assert "reserved" in complaints[1]


async def test_long_event_line_is_skipped_without_being_kept(client: AsyncRunsClient) -> None:
    script = """
    { printf '{"event_type": "long", "payload": {"x": "'; head -c 3000000 /dev/zero | tr '\\0' x; echo '"}}'
      echo '{"event_type": "after"}'; } >>$RUNSD_EVENTS"""
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.status is RunStatus.COMPLETED
    assert "after" in types(events)
    assert "long" not in types(events)
    assert "longer than" in text(events, "system")


async def test_delayed_run_waits_and_unstarted_run_expires(client: AsyncRunsClient) -> None:
    delayed, events = await run_to_the_end(client, "task:quick", start_after_seconds=0.3)
    assert delayed.created_at and delayed.started_at
    assert (delayed.started_at - delayed.created_at).total_seconds() >= 0.3
    assert delayed.start_after is None, "it is over"
    expired, events = await _expired(client)
    assert expired.error and expired.error.code == "expired"
    assert types(events) == ["run.created", "run.failed"]


async def _expired(client: AsyncRunsClient) -> tuple[Run, list[Event]]:
    """A run that is kept from starting by another with its key."""
    busy = await client.create_task_run("task:wait-for-ever", concurrency_key="one")
    await _until(client, busy.run.run_id, "waiting")
    try:
        return await run_to_the_end(client, "task:quick", concurrency_key="one", expires_after_seconds=0.05)
    finally:
        await client.cancel(busy.run.run_id)


async def _until(client: AsyncRunsClient, run_id: str, event_type: str) -> None:
    async for event in client.follow(run_id):
        if event.event_type == event_type:
            return


async def test_nothing_is_left_of_ended_runs_but_artifacts(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        for task in ("speak", "true", "fails-twice", "exit-status"):
            await run_to_the_end(client, f"task:{task}", input=0)
        kept, _ = await run_to_the_end(client, "task:echo", input=1)
    assert daemon.stop() == 0
    left = {path.relative_to(daemon.state) for path in daemon.state.rglob("*") if path.is_file()}
    reports = {path for path in left if path.name == "rows.csv"}
    assert len(reports) == 1
    note = Path("artifacts", kept.run_id[-2:], f"{kept.run_id}.1", "note.txt")
    assert left - reports == {note, Path("runsd.db"), Path("runsd.lock")}
    assert not list(daemon.state.glob("attempts/*/*")) and not list(daemon.state.glob("kept/*/*"))


@pytest.mark.parametrize("task", ["speak-at-length", "speak-at-length/subprocess"])
async def test_what_is_too_long_for_an_event_is_refused_at_once(client: AsyncRunsClient, task: str) -> None:
    run, events = await run_to_the_end(client, f"task:{task}")
    assert run.error and run.error.code == "exception"
    assert "ValueError: the payload of 'too.long'" in run.error.message
    assert text(events) == "x" * 1_000_000 + "\n", "a log line of any length is taken in pieces"


async def test_output_of_a_callable_is_limited_too(client: AsyncRunsClient) -> None:
    run, _ = await run_to_the_end(client, "task:return-much")
    assert run.error and run.error.code == "output_invalid"
    assert "at most 1,048,576" in run.error.message
