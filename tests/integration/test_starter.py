"""The project that `runs init` writes, on a real daemon: what each target does, and refuses."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from runsd_client import Event, InvalidRequestError, Run, RunsClient, RunStatus
from runsd_client.commands.app import app
from runsd_client.demo.daemon import own_daemon
from runsd_client.starter import creation
from runsd_client.starter.creation import FILES, create_project, project_id_of
from typer.testing import CliRunner

from runsd.sdk.context import Cancelled, Context

WRITTEN = [".gitignore" if name == "gitignore" else name for name in FILES]
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("p") / "shop"
    create_project(directory)
    return directory


@pytest.fixture(scope="module")
def runs(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunsClient]:
    with own_daemon(project, tmp_path_factory.mktemp("d")) as daemon, daemon.client("shop") as client:
        yield client


@pytest.fixture
def tasks(project: Path) -> ModuleType:
    """The project's tasks.py, imported here."""
    spec = importlib.util.spec_from_file_location("starter_tasks", project / "tasks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finish(runs: RunsClient, target: str, **options: Any) -> tuple[Run, list[Event]]:
    run_id = runs.create_task_run(target, **{"backoff_limit": 0, **options}).run.run_id
    events = list(runs.follow(run_id))
    return runs.get(run_id), events


def complete(runs: RunsClient, target: str, **options: Any) -> tuple[Any, list[Event]]:
    run, events = finish(runs, target, **options)
    assert run.status is RunStatus.COMPLETED, (run.error, run.logs)
    return run.output, events


def failure(runs: RunsClient, target: str, **options: Any) -> str:
    run, _ = finish(runs, target, **options)
    assert run.status is RunStatus.FAILED and run.error is not None
    return f"{run.error.code}: {run.error.message}"


def payloads(events: list[Event], event_type: str) -> list[Any]:
    return [event.payload for event in events if event.event_type == event_type]


def query(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute(sql).fetchall()


def csv_rows(file: Path) -> list[tuple[str, ...]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return [tuple(row) for row in csv.reader(lines)][1:]


# runs init


def test_init_writes_a_project_that_passes_the_check(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "My shop")])
    assert result.exit_code == 0
    assert f"runsd serve --project '{tmp_path / 'My shop'}'" in result.stdout
    written = [str(path.relative_to(tmp_path / "My shop")) for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(WRITTEN)
    command = [sys.executable, "-m", "runsd.cli", "check", "--project", str(tmp_path / "My shop")]
    check = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (check.returncode, check.stderr) == (0, "")
    assert check.stdout.startswith("my-shop: 8 targets, 1 schedule in ")


def test_init_takes_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["init"]).exit_code == 0
    assert (tmp_path / "runs.toml").is_file()


def test_every_packaged_file_is_written() -> None:
    source = Path(creation.__file__).parent / "project"
    packaged = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert {name for name in packaged if "__pycache__" not in name} == set(FILES)


@pytest.mark.parametrize("name", WRITTEN)
def test_init_overwrites_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path / name}: is there already; nothing was written" in result.stderr
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_init_does_not_write_through_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/tasks.py").symlink_to(tmp_path / "elsewhere.py")
    assert CliRunner().invoke(app, ["init", str(tmp_path / "shop")]).exit_code == 1
    assert not (tmp_path / "elsewhere.py").exists()


def test_init_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("mine")
    result = CliRunner().invoke(app, ["init", str(tmp_path / "shop")])
    assert result.exit_code == 1
    assert "is there already, and no directory" in result.stderr


def test_init_that_cannot_write_all_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")
    assert CliRunner().invoke(app, ["init", str(tmp_path)]).exit_code == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["data"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop", "shop"),
        ("My Shop", "my-shop"),
        ("v1.2_final", "v1.2_final"),
        (".hidden", "hidden"),
        ("données", "donn-es"),
        ("店", "project"),
        ('a"b', "a-b"),
        ("x" * 250, "x" * 200),
    ],
)
def test_project_id_is_made_of_the_directory_name(name: str, expected: str) -> None:
    assert project_id_of(Path("/some/where") / name) == expected


# task:sync-data


def test_sync_data_fills_the_database_and_is_idempotent(runs: RunsClient, project: Path) -> None:
    expected = csv_rows(project / "data/zones.csv")
    output, events = complete(runs, "task:sync-data", config={"batchSize": 100})
    counts = {"rows": len(expected), "inserted": len(expected), "updated": 0, "unchanged": 0}
    assert output == {**counts, "table": "zones", "database": "data/synced.db"}
    assert query(project / "data/synced.db", "SELECT * FROM zones ORDER BY rowid") == expected
    progress = payloads(events, "progress")
    assert len(progress) == math.ceil(len(expected) / 100)
    assert progress[0] == {"fraction": 100 / len(expected), "message": f"100 of {len(expected)} rows"}
    assert progress[-1]["fraction"] == 1

    again, _ = complete(runs, "task:sync-data")
    assert again == {**output, "inserted": 0, "unchanged": len(expected)}
    assert query(project / "data/synced.db", "SELECT * FROM zones ORDER BY rowid") == expected


def test_sync_data_takes_another_csv_and_database(runs: RunsClient, tmp_path: Path) -> None:
    source, database = tmp_path / 'odd "name".csv', tmp_path / "new/other.db"
    documents = {"input": {"csv": str(source)}, "config": {"database": str(database), "batchSize": 1}}
    source.write_text('\ufeffkey,"the ""value"""\n1,a\n2,"b\nb"\n\n3,c\n', encoding="utf-8")
    first, _ = complete(runs, "task:sync-data", **documents)
    assert first["inserted"] == 3
    source.write_text('key,"the ""value"""\n1,a\n2,B\n4,d\n')
    second, _ = complete(runs, "task:sync-data", **documents)
    assert (second["inserted"], second["updated"], second["unchanged"]) == (1, 1, 1)
    rows = query(database, 'SELECT key, "the ""value""" FROM "odd ""name""" ORDER BY key')
    assert rows == [("1", "a"), ("2", "B"), ("3", "c"), ("4", "d")]


@pytest.mark.parametrize(
    "config", [{"batchSize": 0}, {"batchSize": "ten"}, {"batchSize": 1.5}, {"batchSize": None}, {"batch_size": 1}, []]
)
def test_sync_data_with_a_wrong_config_is_refused(runs: RunsClient, config: Any) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        runs.create_task_run("task:sync-data", config=config)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert {violation.field for violation in refused.value.violations} == {"config_json"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "the first line must name every column"),
        (b"key,KEY\n1,2\n", "the first line must name every column, and each differently"),
        (b"key,\n1,2\n", "the first line must name every column"),
        (b"key,value\n1,a\n2\n", "line 3 has 1 fields of 2"),
        (b"key,value\n1,a\n,b\n", "line 3 has 2 fields of 2, or no key"),
        (b"key,value\n1,\xe9\n", "'utf-8' codec can't decode"),
        (b'key,value\n1,"a"b\n', "',' expected after '\"'"),
    ],
)
def test_sync_data_syncs_nothing_of_a_faulty_csv(
    runs: RunsClient, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    source, database = tmp_path / "faulty.csv", tmp_path / "out.db"
    if content is not None:
        source.write_bytes(content)
    documents = {"input": {"csv": str(source)}, "config": {"database": str(database), "batchSize": 1}}
    message = failure(runs, "task:sync-data", **documents)
    assert message.startswith(f"sync_failed: cannot sync {source} to {database}: ")
    assert reason in message
    assert query(database, "SELECT name FROM sqlite_schema") == []


def test_sync_data_does_not_mix_tables(runs: RunsClient, tmp_path: Path) -> None:
    source, documents = tmp_path / "t.csv", {"input": {"csv": str(tmp_path / "t.csv")}}
    config = {"database": str(tmp_path / "out.db")}
    source.write_text("key,a\n1,2\n")
    complete(runs, "task:sync-data", config=config, **documents)
    source.write_text("key,b\n1,2\n")
    message = failure(runs, "task:sync-data", config=config, **documents)
    assert "the table has the columns key, a, and the file key, b" in message


def test_sync_data_goes_on_where_a_killed_attempt_was(project: Path, tmp_path: Path) -> None:
    """The events go into a FIFO at first, so that the program waits for us after each batch."""
    (tmp_path / "input").write_text("null")
    (tmp_path / "config").write_text(f'{{"batchSize": 100, "database": "{tmp_path / "out.db"}"}}')
    names = ("input", "config", "output", "error", "events")
    env = {f"RUNSD_{name.upper()}": str(tmp_path / name) for name in names}
    command = [sys.executable, "sync_data.py"]
    os.mkfifo(tmp_path / "events")
    first = subprocess.Popen(command, cwd=project, env={**env, "RUNSD_RUN_ID": "a"}, stdout=subprocess.PIPE)
    for _ in range(2):
        assert (tmp_path / "events").read_text()
    first.kill()
    first.communicate(timeout=PATIENCE_SECONDS)
    total = len(csv_rows(project / "data/zones.csv"))
    done = query(tmp_path / "out.db", "SELECT count(*) FROM zones")[0][0]
    assert 200 <= done < total

    (tmp_path / "events").unlink()
    second = subprocess.run(command, cwd=project, env={**env, "RUNSD_RUN_ID": "a"}, capture_output=True, text=True)
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == f"an earlier attempt did {done} rows; going on from there\n"
    assert f'"rows": {total}, "inserted": {total}, "updated": 0, "unchanged": 0' in (tmp_path / "output").read_text()
    assert query(tmp_path / "out.db", "SELECT count(*) FROM zones") == [(total,)]


def test_sync_data_by_hand_says_how_it_is_started(project: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RUNSD_")}
    result = subprocess.run([sys.executable, project / "sync_data.py"], env=env, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        1,
        "runsd starts this program: runs start task:sync-data --follow\n",
    )


# task:knowledge-ingest


def test_knowledge_ingest_leaves_an_index_of_the_docs(runs: RunsClient, project: Path, tmp_path: Path) -> None:
    run, events = finish(runs, "task:knowledge-ingest")
    assert run.status is RunStatus.COMPLETED, run.logs
    documents = list((project / "docs").iterdir())
    assert run.output == {
        "files": len(documents),
        "chunks": run.output["chunks"],
        "bytes": sum(path.stat().st_size for path in documents),
        "skipped": 0,
    }
    assert payloads(events, "progress")[-1]["fraction"] == 1
    assert [artifact.name for artifact in run.artifacts] == ["knowledge.db"]
    index = runs.download_artifact(run.run_id, "knowledge.db", tmp_path)
    assert query(index, "SELECT count(*) FROM chunks") == [(run.output["chunks"],)]
    hits = query(index, "SELECT file, heading FROM chunks WHERE chunks MATCH 'sigkill' ORDER BY rank")
    assert hits == [("programs.md", "Being cancelled")]
    assert query(index, "SELECT DISTINCT file FROM chunks WHERE chunks MATCH 'numbering'") == [("words.md",)]


def test_knowledge_ingest_passes_over_what_it_cannot_read(runs: RunsClient, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/good.TXT").write_text("something to find")
    (tmp_path / "latin.md").write_bytes(b"caf\xe9")
    (tmp_path / "empty.rst").touch()
    (tmp_path / "picture.png").write_bytes(b"\x89")
    (tmp_path / "dangling.md").symlink_to("nowhere")
    output, events = complete(runs, "task:knowledge-ingest", input={"folder": str(tmp_path)})
    assert output == {"files": 2, "chunks": 1, "bytes": 17, "skipped": 1}
    (skipped,) = payloads(events, "file.skipped")
    assert skipped["file"] == "latin.md"
    assert "invalid continuation byte" in skipped["reason"] or "unexpected end of data" in skipped["reason"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "NotADirectoryError: there is no folder {folder}"),
        ({}, "FileNotFoundError: {folder} holds no files that end in .md, .rst, .txt"),
        ({"a.png": b"x"}, "FileNotFoundError: {folder} holds no files that end in .md, .rst, .txt"),
        ({"a.md": b"\xff"}, "ValueError: none of the 1 files could be read as UTF-8 text"),
    ],
)
def test_knowledge_ingest_without_anything_to_index_fails(
    runs: RunsClient, tmp_path: Path, content: dict[str, bytes] | None, reason: str
) -> None:
    folder = tmp_path / "folder"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    message = failure(runs, "task:knowledge-ingest", input={"folder": str(folder)})
    assert reason.format(folder=folder) in message


def test_knowledge_ingest_has_an_input_schema(runs: RunsClient) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        runs.create_task_run("task:knowledge-ingest", input={"directory": "docs"})
    assert "directory" in refused.value.message


def context(directory: Path, write: Any, **documents: Any) -> Context:
    documents = {"input": None, "config": None, **documents}
    for name in ("state", "artifacts"):
        (directory / name).mkdir(exist_ok=True)
    return Context(
        run_id="r",
        project="shop",
        target="task:t",
        attempt=1,
        address="",
        state_dir=directory / "state",
        artifacts_dir=directory / "artifacts",
        write=write,
        **documents,
    )


def test_cancelled_knowledge_ingest_leaves_nothing(
    tasks: ModuleType, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cancel(event_type: str, payload_json: str) -> None:
        raise Cancelled  # as the signal would, which may come anywhere

    with pytest.raises(Cancelled):
        tasks.knowledge_ingest(context(tmp_path, cancel, input={"folder": str(project / "docs")}))
    assert "cancelled; the unfinished index is removed" in capsys.readouterr().out
    assert list((tmp_path / "state").iterdir()) == list((tmp_path / "artifacts").iterdir()) == []


@pytest.mark.parametrize("size", [10, 50, 1000])
def test_chunks_hold_the_whole_text_within_their_size(tasks: ModuleType, size: int) -> None:
    text = "intro\n\n# One\n\nfirst words\n\nmore of them\n\n## Two\n" + "long " * 60 + "\n\nend"
    chunks = list(tasks.chunks(text, size))
    assert all(0 < len(chunk) <= size for _, chunk in chunks)
    assert "".join("".join(chunk for _, chunk in chunks).split()) == "".join(text.split())
    assert list(dict(chunks)) == ["", "One", "Two"]


# workflow:content-pipeline, in both forms


@pytest.mark.parametrize("workflow", ["content-pipeline", "content-pipeline-in-steps"])
def test_content_is_published_once_an_editor_agrees(runs: RunsClient, project: Path, workflow: str) -> None:
    run_id = runs.create_workflow_run(workflow, input={"topic": "Attempt"}).run.run_id
    for event in runs.follow(run_id):
        if event.event_type == "approval.requested":
            assert event.payload["message"] == "Publish 4 sections on Attempt?"
            assert not (project / "published/attempt.md").exists()
            runs.approve(run_id, "editor-review", by="eve")
    run = runs.get(run_id)
    assert run.status is RunStatus.COMPLETED, run.error
    assert run.output["file"] == "published/attempt.md" and run.output["indexed"] > 0
    published = project / run.output["file"]
    assert "An attempt is one try at executing a run." in published.read_text()
    assert published.read_text().endswith("Released by eve.\n")
    published.unlink()


@pytest.mark.parametrize("workflow", ["content-pipeline", "content-pipeline-in-steps"])
def test_nothing_to_publish_fails(runs: RunsClient, workflow: str) -> None:
    run_id = runs.create_workflow_run(workflow, input={"topic": "zebra"}).run.run_id
    list(runs.follow(run_id))
    error = runs.get(run_id).error
    assert error is not None and "nothing in docs mentions 'zebra'" in error.message


# task:countdown


def test_countdown_counts(runs: RunsClient) -> None:
    output, events = complete(runs, "task:countdown", input={"seconds": 1})
    assert output == {"seconds": 1, "attempts": 1}
    assert payloads(events, "progress") == [{"fraction": 0, "message": "1 s left"}]


def test_cancelled_countdown_cleans_up_and_says_so(runs: RunsClient) -> None:
    run_id = runs.create_task_run("task:countdown", input={"seconds": 600}).run.run_id
    for event in runs.follow(run_id):
        if event.event_type == "progress" and event.payload["fraction"] == 0:
            assert runs.cancel(run_id).cancelled
    run = runs.get(run_id)
    assert run.status is RunStatus.CANCELLED
    assert "s left; cleaned up" in run.logs


async def test_countdown_goes_on_where_an_interrupted_attempt_was(
    tasks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_time(seconds: float) -> None: ...

    monkeypatch.setattr(asyncio, "sleep", no_time)
    written: list[str] = []
    ctx = context(tmp_path, lambda event_type, payload: written.append(payload), input={"seconds": 10})
    (tmp_path / "state/left").write_text("2")
    assert await tasks.countdown(ctx) == {"seconds": 10, "attempts": 1}
    assert len(written) == 2 and '"2 s left"' in written[0]
