"""The units on the real systemd: whatever becomes of the daemon, a process run comes out whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from runsd_client import AsyncRunsClient, Event, RetryPolicy, Run, RunStatus

from tests.integration.systemd_machine import PATIENCE_SECONDS, PROGRAM, Machine, NoMachine, booted

# `relay` repeats every line that it is fed; `desert` does too, and what it has started leaves everything that
# it can leave; `hog` makes the daemon's event loop hang.
PROJECT = """
[project]
id = "proving-ground"

[tasks.relay]
shell = '''
trap 'echo told to end; exit 9' TERM
exec 3<>/tmp/feed
echo begun
while read -r line <&3; do
    echo "$line"
    if [ "$line" = end ]; then exit 7; fi
done
'''

[tasks.desert]
shell = '''
mkfifo "$RUNSD_STATE/told"
(env -i TOLD="$RUNSD_STATE/told" setsid sh -c 'echo $$ >$TOLD; exec env -i sleep 1000' </dev/null >/dev/null 2>&1 &)
read -r deserter <"$RUNSD_STATE/told"
exec 3<>/tmp/feed
echo "$deserter"
read -r line <&3
'''

[tasks.hog]
python = "hog:hog"
adapter = "inprocess"
on_interrupt = "fail"
"""
HOG = """
import threading

async def hog(ctx):
    threading.Event().wait()
"""
# A test need not wait as long as people may.
IMPATIENT = "[Service]\nRestartSec=100ms\nWatchdogSec=1\n"
USER_MANAGER = """
[Service]
Type=notify
ExecStart=/lib/systemd/systemd --user --unit=basic.target
Environment=XDG_RUNTIME_DIR=/run/user/0 HOME=/tmp/home
RuntimeDirectory=user/0
Delegate=yes
"""
RETRIES = RetryPolicy(retries=100, initial_seconds=0.05, max_seconds=0.2)


class Service:
    """runsd as `install-unit` installs it, in the machine."""

    def __init__(self, machine: Machine, *, user: bool) -> None:
        self.machine = machine
        self._options = ("--user",) if user else ()
        runtime_directory = "/run/user/0" if user else "/run"
        self._environment = (f"XDG_RUNTIME_DIR={runtime_directory}", "HOME=/tmp/home") if user else ()
        self.configuration = "/tmp/home/.config" if user else "/etc"
        self.address = f"unix:{machine.path(runtime_directory)}/runsd/runsd.sock"
        self.unit = f"{self.configuration}/systemd/{'user' if user else 'system'}/runsd.service"

    def systemctl(self, *arguments: str) -> str:
        return self.machine.output("systemctl", *self._options, *arguments, env=self._environment)

    def install(self) -> str:
        return self.machine.output(str(PROGRAM), "install-unit", *self._options, env=self._environment)

    def analyze(self, *arguments: str) -> str:
        done = self.machine.execute("systemd-analyze", *self._options, *arguments, env=self._environment)
        return done.stdout + done.stderr

    def signal(self, name: str, whom: str = "main") -> None:
        self.systemctl("kill", f"--kill-whom={whom}", f"--signal={name}", "runsd")

    @property
    def main_pid(self) -> int:
        return int(self.systemctl("show", "--value", "--property=MainPID", "runsd"))

    @property
    def cgroup(self) -> str:
        return self.systemctl("show", "--value", "--property=ControlGroup", "runsd").lstrip("/")

    @property
    def state(self) -> str:
        return self.systemctl("show", "--value", "--property=ActiveState", "runsd")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    try:
        with booted() as machine:
            machine.write("/tmp/project/runs.toml", PROJECT)
            machine.write("/tmp/project/hog.py", HOG)
            machine.write("/etc/systemd/system/user-manager.service", USER_MANAGER)
            machine.output("systemctl", "daemon-reload")
            machine.output("systemctl", "start", "user-manager")
            yield machine
    except NoMachine as error:
        if os.environ.get("CI") == "true" or os.environ.get("RUNSD_REQUIRE_SYSTEMD") == "1":
            pytest.fail(f"this has to be tested here, and cannot be: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["system", "user"])
def installed(machine: Machine, request: pytest.FixtureRequest) -> Service:
    """With no configuration at all."""
    service = Service(machine, user=request.param == "user")
    service.install()
    service.systemctl("daemon-reload")
    return service


@pytest.fixture(scope="module")
def configured(installed: Service) -> Service:
    installed.machine.write(f"{installed.configuration}/runsd/runsd.toml", 'projects = ["/tmp/project"]\n')
    installed.machine.write(f"{installed.unit}.d/impatient.conf", IMPATIENT)
    installed.systemctl("daemon-reload")
    installed.systemctl("restart", "runsd")
    return installed


@pytest.fixture
def service(configured: Service) -> Service:
    """One for all tests of a module, which leave it serving."""
    configured.systemctl("start", "runsd")
    return configured


@pytest.fixture
async def client(service: Service) -> AsyncIterator[AsyncRunsClient]:
    async with AsyncRunsClient(service.address, retry=RETRIES) as client:
        yield client


class Relay:
    """A run of `relay`, and what comes of it."""

    def __init__(self, client: AsyncRunsClient, run_id: str, feed: int) -> None:
        self._client = client
        self._run_id = run_id
        self._feed = feed

    def say(self, line: str) -> None:
        """Fails where no process listens any more."""
        os.write(self._feed, f"{line}\n".encode())

    async def is_known(self) -> None:
        """Waits for a daemon that answers."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._client.get(self._run_id)

    async def comes_out_whole(self, *lines: str, exit_code: int = 7) -> None:
        """All it wrote, the status it ended with, in its one attempt."""
        run, events = await record_of(self._client, self._run_id)
        output = "".join(event.payload["text"] for event in events if event.event_type == "log")
        assert output == "".join(f"{line}\n" for line in ("begun", *lines))
        assert (run.status, run.exit_code, run.attempt) == (RunStatus.FAILED, exit_code, 1)
        assert [event.event_id for event in events] == list(range(1, len(events) + 1))
        assert [event.event_type for event in events if event.event_type != "log"] == [
            "run.created", "run.started", "run.failed",
        ]  # fmt: skip


class Deserter:
    """A process that left its run's session, and of its environment everything."""

    def __init__(self, service: Service, run_id: str, pid: int) -> None:
        self.run_id = run_id
        self._process = service.machine.path(f"/proc/{pid}")
        self._cgroup = service.machine.path(f"/sys/fs/cgroup/{service.cgroup}/{run_id}.1")

    @property
    def is_alive(self) -> bool:
        try:
            return (self._process / "cmdline").read_bytes().startswith(b"sleep\0")
        except OSError:
            return False

    def assert_is_at_large(self) -> None:
        assert self.is_alive
        assert (self._process / "environ").read_bytes() == b""

    def assert_is_gone_with(self, run: Run, events: list[Event]) -> None:
        assert not self.is_alive
        assert not self._cgroup.exists()
        told = [event.payload["text"] for event in events if event.payload.get("stream") == "system"]
        assert told == ["processes that the attempt left behind are ended\n"]
        assert run.attempt == 1


@pytest.fixture
def feed(service: Service) -> Path:
    feed = service.machine.path("/tmp/feed")
    feed.unlink(missing_ok=True)
    os.mkfifo(feed)
    return feed


@pytest.fixture
async def deserter(service: Service, client: AsyncRunsClient, feed: Path) -> Deserter:
    run_id = (await client.create_task_run("task:desert")).run.run_id
    async with asyncio.timeout(PATIENCE_SECONDS):
        said = await anext(event async for event in client.follow(run_id) if event.event_type == "log")
        deserter = Deserter(service, run_id, int(said.payload["text"]))
        # It told its number just before it became `sleep`.
        while not deserter.is_alive:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
    deserter.assert_is_at_large()
    return deserter


async def record_of(client: AsyncRunsClient, run_id: str) -> tuple[Run, list[Event]]:
    """When it has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        events = [event async for event in client.follow(run_id)]
        return await client.get(run_id), events


@pytest.fixture
async def relay(service: Service, client: AsyncRunsClient, feed: Path) -> AsyncIterator[Relay]:
    """One that executes, and has said `before`."""
    run_id = (await client.create_task_run("task:relay")).run.run_id
    async with asyncio.timeout(PATIENCE_SECONDS):
        await anext(event async for event in client.follow(run_id) if event.event_type == "log")
    descriptor = os.open(feed, os.O_WRONLY | os.O_NONBLOCK)
    relay = Relay(client, run_id, descriptor)
    relay.say("before")
    yield relay
    os.close(descriptor)


def test_verified_by_systemd(installed: Service) -> None:
    assert installed.analyze("verify", installed.unit) == ""


def test_security_is_reported(installed: Service, capsys: pytest.CaptureFixture[str]) -> None:
    report = installed.analyze("security", "--offline=true", "--no-pager", installed.unit)
    assert "Overall exposure level" in report
    with capsys.disabled():
        print(f"\n{installed.unit}: {report.splitlines()[-1]}")


def test_starts_without_any_configuration(installed: Service) -> None:
    installed.systemctl("start", "runsd")
    assert installed.state == "active"
    assert "serving on unix:/run/" in installed.systemctl("status", "runsd")


async def test_restart(service: Service, relay: Relay) -> None:
    former = service.main_pid
    service.systemctl("restart", "runsd")
    assert service.main_pid != former
    relay.say("after")
    relay.say("end")
    await relay.comes_out_whole("before", "after", "end")


async def test_stop_and_start(service: Service, relay: Relay) -> None:
    service.systemctl("stop", "runsd")
    assert service.state == "inactive"
    relay.say("meanwhile")
    service.systemctl("start", "runsd")
    relay.say("end")
    await relay.comes_out_whole("before", "meanwhile", "end")


async def test_run_that_ends_while_the_daemon_is_stopped(service: Service, relay: Relay) -> None:
    service.systemctl("stop", "runsd")
    relay.say("meanwhile")
    relay.say("end")
    service.systemctl("start", "runsd")
    await relay.comes_out_whole("before", "meanwhile", "end")


async def test_kill(service: Service, relay: Relay) -> None:
    former = service.main_pid
    service.signal("KILL")
    relay.say("meanwhile")
    await relay.is_known()
    relay.say("end")
    await relay.comes_out_whole("before", "meanwhile", "end")
    assert service.main_pid not in (0, former)


async def test_watchdog_ends_a_daemon_that_is_stopped(service: Service, relay: Relay) -> None:
    former = service.main_pid
    service.signal("STOP")
    relay.say("meanwhile")
    await relay.is_known()
    relay.say("end")
    await relay.comes_out_whole("before", "meanwhile", "end")
    assert service.main_pid not in (0, former)


async def test_watchdog_ends_a_daemon_whose_loop_hangs(service: Service, relay: Relay, client: AsyncRunsClient) -> None:
    former = service.main_pid
    hog = (await client.create_task_run("task:hog")).run.run_id
    relay.say("meanwhile")
    run = await client.wait(hog, PATIENCE_SECONDS)
    assert run.error is not None and run.error.code == "interrupted"
    relay.say("end")
    await relay.comes_out_whole("before", "meanwhile", "end")
    assert service.main_pid not in (0, former)
    # On the watchdog's SIGABRT the daemon says where it hung.
    assert "in hog" in service.machine.journal(f"_PID={former}")


async def test_stop_that_ends_runs_too(service: Service, relay: Relay) -> None:
    service.systemctl("stop", "runsd")
    service.signal("TERM", whom="all")
    service.systemctl("start", "runsd")
    await relay.comes_out_whole("before", "told to end", exit_code=9)


async def test_deserter_is_ended_with_its_run(client: AsyncRunsClient, deserter: Deserter, feed: Path) -> None:
    feed.write_text("end\n")
    run, events = await record_of(client, deserter.run_id)
    assert run.status is RunStatus.COMPLETED
    deserter.assert_is_gone_with(run, events)


async def test_deserter_is_ended_with_a_cancelled_run(client: AsyncRunsClient, deserter: Deserter) -> None:
    await client.cancel(deserter.run_id)
    run, events = await record_of(client, deserter.run_id)
    assert run.status is RunStatus.CANCELLED
    deserter.assert_is_gone_with(run, events)


async def test_deserter_is_ended_by_the_next_daemon(
    service: Service, client: AsyncRunsClient, deserter: Deserter, feed: Path
) -> None:
    former = service.main_pid
    service.signal("KILL")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await client.get(deserter.run_id)
    assert service.main_pid not in (0, former)
    deserter.assert_is_at_large()
    feed.write_text("end\n")
    run, events = await record_of(client, deserter.run_id)
    assert run.status is RunStatus.COMPLETED
    deserter.assert_is_gone_with(run, events)


async def test_deserter_whose_run_ended_without_a_daemon(
    service: Service, client: AsyncRunsClient, deserter: Deserter, feed: Path
) -> None:
    service.systemctl("stop", "runsd")
    feed.write_text("end\n")
    deserter.assert_is_at_large()
    service.systemctl("start", "runsd")
    run, events = await record_of(client, deserter.run_id)
    assert run.status is RunStatus.COMPLETED
    deserter.assert_is_gone_with(run, events)
