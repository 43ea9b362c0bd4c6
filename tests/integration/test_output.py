"""Output of processes, however ugly: every byte in the log, exactly once."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from runsd_client import AsyncRunsClient, Event, RunStatus

from tests.integration.daemon import SETTINGS, Daemon
from tests.integration.test_executing import run_to_the_end, text, types


def output_bytes(events: list[Event], stream: str = "stdout") -> bytes:
    pieces = [e.payload for e in events if e.event_type == "log" and e.payload["stream"] == stream]
    return b"".join(base64.b64decode(p["base64"]) if "base64" in p else p["text"].encode() for p in pieces)


async def test_bytes_that_are_no_text_come_through(client: AsyncRunsClient) -> None:
    script = 'python3 -c "import sys; sys.stdout.buffer.write(bytes(range(256)) * 2000)"'
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.status is RunStatus.COMPLETED
    assert output_bytes(events) == bytes(range(256)) * 2000


async def test_characters_are_never_cut(client: AsyncRunsClient) -> None:
    script = """python3 -c "
import sys, time
for byte in ('☃é𝄞' * 50).encode():
    sys.stdout.buffer.write(bytes([byte])); sys.stdout.flush()
" """
    _, events = await run_to_the_end(client, "task:script", input=script)
    assert text(events) == "☃é𝄞" * 50
    assert not [event for event in events if "base64" in event.payload]


async def test_line_of_100_mb(client: AsyncRunsClient, daemon: Daemon) -> None:
    before = daemon.resident_bytes()
    size = 100_000_000
    run = (await client.create_task_run("task:script", input=f"head -c {size} /dev/zero | tr '\\0' x")).run
    digest, seen, last = hashlib.sha256(), 0, None
    async for event in client.follow(run.run_id):
        if event.event_type == "log":
            digest.update(event.payload["text"].encode())
            seen += len(event.payload["text"])
        last = event
    assert last is not None and last.event_type == "run.completed"
    assert seen == size
    assert digest.hexdigest() == hashlib.sha256(b"x" * size).hexdigest()
    assert daemon.resident_bytes() - before < 60_000_000


async def test_process_that_closes_its_streams_or_says_nothing(client: AsyncRunsClient) -> None:
    closed, events = await run_to_the_end(client, "task:script", input="exec >&- 2>&- <&-; exit 7")
    assert (closed.exit_code, text(events)) == (7, "")
    silent, events = await run_to_the_end(client, "task:true")
    assert types(events) == ["run.created", "run.started", "run.completed"]
    assert (silent.logs, silent.logs_truncated) == ("", False)


async def test_processes_left_behind_are_ended_and_heard_out(client: AsyncRunsClient) -> None:
    script = """
    sh -c 'trap "echo ended; exit" TERM; echo "pid $$"; while :; do sleep 0.01; done' &
    sh -c 'trap "" TERM; echo "pid $$"; exec sleep 1000' &
    sleep 0.2; echo done"""
    run, events = await run_to_the_end(client, "task:script", input=script)
    assert run.status is RunStatus.COMPLETED
    output = text(events)
    assert "done\n" in output and "ended\n" in output
    assert "left behind" in text(events, "system")
    pids = [int(line.split()[1]) for line in output.splitlines() if line.startswith("pid ")]
    assert len(pids) == 2
    assert not [pid for pid in pids if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_lines_are_seen_while_the_process_goes_on(client: AsyncRunsClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run = (await client.create_task_run("task:script", input=f"echo one; read line <{gate}; echo two")).run
    seen = []
    async for event in client.follow(run.run_id):
        seen.append(event.event_type)
        if event.event_type == "log" and event.payload["text"] == "one\n":
            gate.write_text("go on\n")
    assert seen == ["run.created", "run.started", "log", "log", "run.completed"]


async def test_logs_of_the_record_are_the_tail(client: AsyncRunsClient) -> None:
    run, events = await run_to_the_end(client, "task:script", input="seq 100000")
    whole = "".join(f"{n}\n" for n in range(1, 100001))
    assert text(events) == whole
    assert run.logs == whole[-65536:]
    assert run.logs_truncated
    short, _ = await run_to_the_end(client, "task:script", input="echo out; sleep 0.1; echo err >&2")
    assert (short.logs, short.logs_truncated) == ("out\nerr\n", False)


async def test_output_has_a_limit(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(settings=SETTINGS + "[limits]\noutput_bytes = 1000000\n")
    daemon.start()
    async with AsyncRunsClient(daemon.address) as client:
        run, events = await run_to_the_end(client, "task:script", input="echo first; exec yes", backoff_limit=3)
    assert (run.status, run.attempt) == (RunStatus.FAILED, 1)
    assert run.error and run.error.code == "output_limit"
    kept = output_bytes(events)
    assert kept.startswith(b"first\ny\ny\n")
    assert 990_000 < len(kept) <= 1_000_000
    assert daemon.stop() == 0


async def test_a_run_killed_from_outside_was_interrupted_and_is_executed_again(client: AsyncRunsClient) -> None:
    script = 'echo $PPID; [ "$RUNSD_ATTEMPT" = 2 ] || exec sleep 1000'
    run = (await client.create_task_run("task:script", input=script)).run
    seen = []
    async for event in client.follow(run.run_id):
        seen.append(event.event_type)
        if event.event_type == "log" and "run.interrupted" not in seen:
            # The group is the session that the shell leads, which the daemon made.
            os.killpg(int(event.payload["text"]), signal.SIGKILL)
    assert seen.count("run.interrupted") == 1
    ended = await client.get(run.run_id)
    assert (ended.status, ended.attempt) == (RunStatus.COMPLETED, 2)
