"""Sync clients that are interrupted, or left to the end of Python: each ends at once."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.unit.client.fake_daemon import FakeDaemon


def python(daemon: FakeDaemon, code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", code, *arguments]
    environment = os.environ | {"RUNSD_ADDRESS": daemon.address}
    return subprocess.run(command, capture_output=True, timeout=30, check=False, env=environment)


# As if Ctrl-C came just when gRPC has begun a call, and not yet the thread that would see its end.
INTERRUPTED_WHILE_IT_BEGINS = """
import grpc._channel

def interrupted(state):
    raise KeyboardInterrupt

assert callable(grpc._channel._run_channel_spin_thread)
grpc._channel._run_channel_spin_thread = interrupted
from runsd_client.cli import main
main()
"""


def test_ctrl_c_just_when_a_stream_begins(daemon: FakeDaemon) -> None:
    result = python(daemon, INTERRUPTED_WHILE_IT_BEGINS, "start", "task:a", "--follow")
    assert result.returncode == 130
    assert b"run run-1 goes on; follow it with `runs events run-1 --follow`" in result.stderr


CLOSED_WHEN_PYTHON_ENDS = """
from runsd_client import RunsClient

def session():
    with RunsClient() as client:
        yield client.list()

held = session()
next(held)
print("held")
"""


def test_a_client_that_is_closed_when_python_ends_ends_with_it(daemon: FakeDaemon) -> None:
    result = python(daemon, CLOSED_WHEN_PYTHON_ENDS)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"held\n", b"")
