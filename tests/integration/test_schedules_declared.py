"""Schedules that a project declares: in force from the start and after a reload, and changed nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from runsd_client import (
    AlreadyExistsError,
    NotFoundError,
    PreconditionError,
    Run,
    RunsClient,
    RunStatus,
)
from runsd_client.commands.app import app
from typer.testing import CliRunner

from tests.integration.daemon import Daemon

MakeDaemon = Callable[..., Daemon]

RUNS_TOML = """
[project]
id = "declared"
modules = ["jobs"]

[tasks.copy]
shell = 'cat "$RUNSD_INPUT" >"$RUNSD_OUTPUT"'
input_schema = { type = "object" }
"""
NIGHTLY = """
[schedules.nightly]
target = "task:copy"
cron = "30 2 * * *"
timezone = "Europe/Stockholm"
input = { day = "yesterday" }
concurrency_policy = "Forbid"
"""
JOBS = """
from runsd import schedule, task, workflow

@schedule("every-second", every=1, max_runs=2, catch_up="all")
@task(adapter="inprocess")
async def beat(ctx):
    return ctx.scheduled_for

@task("moment")
def moment(ctx):
    return ctx.scheduled_for

@workflow("moment")
async def moment_of_workflow(ctx, input):
    return ctx.scheduled_for
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "runs.toml").write_text(RUNS_TOML + NIGHTLY)
    (directory / "jobs.py").write_text(JOBS)
    return directory


@pytest.fixture
def daemon(make_daemon: MakeDaemon, project: Path) -> Daemon:
    daemon = make_daemon(project=project)
    daemon.start()
    return daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RunsClient]:
    with RunsClient(daemon.address) as client:
        yield client


def declare(project: Path, text: str) -> None:
    (project / "runs.toml").write_text(RUNS_TOML + text)


def first_run(client: RunsClient, schedule_id: str) -> Run:
    for event in client.watch(after_position=0, event_types=["run.created"]):
        if event.event.payload.get("schedule_id") == schedule_id:
            return client.wait(event.run_id)
    raise AssertionError


def test_in_force_from_the_start(client: RunsClient) -> None:
    nightly = client.schedules.get("nightly")
    assert (nightly.source, nightly.spec.cron, nightly.spec.input) == ("runs.toml", "30 2 * * *", {"day": "yesterday"})
    assert len(nightly.next) == 5
    run = first_run(client, "every-second")
    assert (run.target, run.status) == ("task:beat", RunStatus.COMPLETED)
    assert client.schedules.get("every-second").source == "jobs"
    triggered = client.wait(client.schedules.trigger("nightly").run.run_id)
    assert triggered.output == {"day": "yesterday"}


@pytest.mark.parametrize("target", ["task:beat", "task:moment", "workflow:moment"])
def test_a_run_knows_what_it_was_made_for(client: RunsClient, target: str) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    client.schedules.create("moment", target, at=at)
    run = first_run(client, "moment")
    assert datetime.fromisoformat(run.output) == at == run.scheduled_for
    assert client.wait(client.schedules.trigger("moment").run.run_id).output == "", "it was made for no moment"


def test_changed_where_it_is_declared_only(client: RunsClient) -> None:
    with pytest.raises(PreconditionError, match=r"declared in runs\.toml"):
        client.schedules.update("nightly", cron="0 3 * * *")
    with pytest.raises(PreconditionError, match=r"declared in runs\.toml"):
        client.schedules.delete("nightly")
    with pytest.raises(AlreadyExistsError, match=r"declared in runs\.toml"):
        client.schedules.create("nightly", "task:copy", every=60, input={})


def test_reload_changes_removes_and_brings_back(daemon: Daemon, project: Path, client: RunsClient) -> None:
    before = client.schedules.pause("nightly", reason="maintenance")
    declare(project, NIGHTLY.replace("30 2", "45 3"))
    client.reload()
    changed = client.schedules.get("nightly")
    assert changed.spec.cron == "45 3 * * *" and changed.etag != before.etag
    assert changed.paused and changed.pause_reason == "maintenance"
    daemon.kill()
    daemon.start()
    assert client.schedules.get("nightly").paused, "a pause outlives the daemon"
    declare(project, "")
    client.reload()
    with pytest.raises(NotFoundError):
        client.schedules.get("nightly")
    declare(project, NIGHTLY)
    client.reload()
    back = client.schedules.get("nightly")
    assert (back.paused, back.pause_reason, back.next) == (True, "maintenance", ()), "also where it was not declared"
    assert client.schedules.resume("nightly").next
    declare(project, "")
    client.reload()
    declare(project, NIGHTLY)
    client.reload()
    assert not client.schedules.get("nightly").paused


def test_a_pause_is_not_that_of_another_schedule_of_the_name(project: Path, client: RunsClient) -> None:
    """A person deletes one and makes another; the project declares one where a person's was."""
    client.schedules.create("weekly", "task:copy", every=3600, input={}, paused=True)
    client.schedules.delete("weekly")
    declare(project, NIGHTLY.replace("nightly", "weekly"))
    client.reload()
    assert not client.schedules.get("weekly").paused
    client.schedules.pause("weekly", reason="declared")
    declare(project, "")
    client.reload()
    assert not client.schedules.create("weekly", "task:copy", every=3600, input={}).schedule.paused


def test_a_broken_declaration_leaves_it_as_it_was(project: Path, client: RunsClient) -> None:
    declare(project, NIGHTLY.replace("30 2 * * *", "30 25 * * *"))
    (problem,) = client.reload().problems
    assert problem.key == 'schedules."nightly".cron' and "25" in problem.message
    nightly = client.schedules.get("nightly")
    assert nightly.spec.cron == "30 2 * * *" and nightly.problems == (problem,)


def test_the_command_tells_of_those_that_were_never_in_force(
    daemon: Daemon, project: Path, client: RunsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSD_ADDRESS", daemon.address)
    assert CliRunner().invoke(app, ["schedules", "list"]).stderr == ""
    broken = NIGHTLY.replace("30 2 * * *", "30 25 * * *")
    declare(project, broken + broken.replace("nightly", "never"))
    client.reload()
    listed = CliRunner().invoke(app, ["schedules", "list"])
    assert "nightly " in listed.stdout and "never" not in listed.stdout
    of_nightly, of_never = listed.stderr.splitlines()
    assert of_nightly.startswith("runs: nightly: ") and 'schedules."nightly".cron: the hour field' in of_nightly
    assert of_never.startswith("runs: not all schedules are in force: ") and 'schedules."never".cron: ' in of_never
    assert not any("not all targets" in line for line in CliRunner().invoke(app, ["targets"]).stderr.splitlines())
    (project / "jobs.py").write_text("import no_such_module\n")
    client.reload()
    assert "no_such_module" in CliRunner().invoke(app, ["schedules", "list"]).stderr


def test_those_of_a_broken_module_stay(project: Path, client: RunsClient) -> None:
    (project / "jobs.py").write_text("import no_such_module\n")
    problems = client.reload().problems
    broken = client.schedules.get("every-second")
    assert (broken.source, broken.problems) == ("jobs", problems)
    assert "no_such_module" in problems[0].message
    assert client.schedules.get("nightly").problems == (), "it is declared elsewhere"
    by_hand = client.schedules.create("by-hand", "task:copy", every=3600, input={}).schedule
    assert by_hand.problems == ()
    (project / "jobs.py").write_text(JOBS)
    client.reload()
    assert client.schedules.get("every-second").problems == ()


def test_an_id_that_was_created_is_not_taken_over(project: Path, client: RunsClient) -> None:
    client.schedules.create("weekly", "task:copy", cron="0 0 * * mon", input={})
    declare(project, NIGHTLY + '\n[schedules.weekly]\ntarget = "task:copy"\nevery = "7d"\ninput = {}\n')
    (problem,) = client.reload().problems
    assert "created through the service" in problem.message
    assert client.schedules.get("weekly").spec.cron == "0 0 * * mon"


def test_documents_that_no_longer_fit_fail_the_run(project: Path, client: RunsClient) -> None:
    client.schedules.create("seconds", "task:copy", every=1, input={"n": 1}, max_runs=1, paused=True)
    (project / "runs.toml").write_text((RUNS_TOML + NIGHTLY).replace('type = "object"', 'type = "string"'))
    client.reload()
    client.schedules.resume("seconds")
    run = first_run(client, "seconds")
    assert run.error is not None and (run.status, run.error.code) == (RunStatus.FAILED, "invalid_request")
    assert client.schedules.get("seconds").health == "failing"
