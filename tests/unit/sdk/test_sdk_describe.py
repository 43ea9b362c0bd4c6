import asyncio
import json
import os
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import runsd
from runsd import Retry, WorkflowContext, schedule, task, workflow

ROOT = Path(__file__).parents[3]


def describe(directory: Path, *references: str, **modules: str) -> dict[str, Any]:
    for name, code in modules.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(code))
    completed = subprocess.run(
        [sys.executable, "-c", "from runsd.sdk.describe import main; main()", str(directory), *references],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=True,
    )
    document: dict[str, Any] = json.loads(completed.stdout)
    return document


def test_the_decorator_changes_nothing() -> None:
    @task
    def sync_data(ctx: object) -> int:
        return 1

    @task("other", timeout_seconds=5, env_allowlist=["A"])
    async def named(ctx: object) -> int:
        return 2

    assert sync_data(None) == 1
    assert asyncio.iscoroutinefunction(named)
    assert vars(sync_data)["__runsd_declarations__"][0].id == "sync-data"
    assert vars(named)["__runsd_declarations__"][0].options == {"timeout_seconds": 5, "env_allowlist": ["A"]}


async def test_the_decorator_of_workflows_changes_nothing() -> None:
    @workflow
    async def content_pipeline(ctx: WorkflowContext, input: object) -> object:
        return input

    @workflow("other", version="2", timeout="1h", retry=Retry(2))
    async def named(ctx: WorkflowContext, input: object) -> None: ...

    ctx: Any = None
    assert await content_pipeline(ctx, 1) == 1
    assert vars(content_pipeline)["__runsd_declarations__"][0].id == "content-pipeline"
    (declaration,) = vars(named)["__runsd_declarations__"]
    assert (declaration.kind, declaration.options) == (
        "workflow",
        {"version": "2", "timeout": "1h", "retry": Retry(2)},
    )


def test_the_decorator_of_schedules_changes_nothing() -> None:
    @schedule("weekly", cron="0 3 * * sun", description=None)
    @task
    @schedule(every=timedelta(hours=1), catch_up="none")
    def sync_data(ctx: object) -> int:
        return 1

    assert sync_data(None) == 1
    found = [(one.kind, one.id, one.options) for one in vars(sync_data)["__runsd_declarations__"]]
    assert found == [
        ("schedule", None, {"every": timedelta(hours=1), "catch_up": "none"}),
        ("task", "sync-data", {}),
        ("schedule", "weekly", {"cron": "0 3 * * sun"}),
    ]


def test_the_package_gives_its_names_lazily() -> None:
    program = "import sys, runsd; print(sorted(m for m in sys.modules if m.startswith('runsd')))"
    printed = subprocess.check_output([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, text=True)
    assert printed == "['runsd']\n"
    assert set(dir(runsd)) >= set(runsd.__all__)
    assert all(getattr(runsd, name) for name in runsd.__all__ if name != "__version__")
    assert issubclass(runsd.Cancelled, BaseException)
    assert not hasattr(runsd, "absent")


def test_declaring_a_workflow_does_not_load_what_executes_it() -> None:
    """A task's process that imports the project's module pays for the decorator alone."""
    names = "schedule, task, workflow"
    program = f"import sys; from runsd import {names}; print(sorted(m for m in sys.modules if 'runsd' in m))"
    printed = subprocess.check_output([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, text=True)
    assert printed == "['runsd', 'runsd.sdk', 'runsd.sdk.declare']\n"


def test_declared_workflows(tmp_path: Path) -> None:
    code = """
        from datetime import timedelta
        from runsd import Retry, workflow
        @workflow("a", timeout=timedelta(hours=1), retry=Retry(4, "linear", timedelta(seconds=2), "1m"))
        async def a(ctx, input): ...
        @workflow(retry={"max_attempts": 2, "initial_delay": timedelta(seconds=3)}, version={1})
        async def b(ctx, input, *, more=1): ...
        @workflow
        def no_coroutine(ctx, input): ...
        @workflow
        async def no_input(ctx): ...
        class Works:
            async def __call__(self, ctx, input): ...
        works = Works()
        def plain(ctx): ...
    """
    document = describe(tmp_path, "flows", "flows:works", "flows:plain", "flows:no_input", flows=code)
    found = {item["id"]: item for item in document["declared"]}
    assert {item["kind"] for item in found.values()} == {"workflow"}
    assert found["a"]["options"] == {
        "timeout": 3600.0,
        "retry": {"max_attempts": 4, "backoff": "linear", "initial_delay": 2.0, "max_delay": "1m"},
    }
    assert found["b"]["options"] == {"retry": {"max_attempts": 2, "initial_delay": 3.0}}
    assert found["b"]["faults"] == {"version": "$ is of type set, which is not JSON"}
    assert (found["a"]["workflow_fault"], found["b"]["workflow_fault"]) == ("", "")
    no_coroutine = "is no `async def`, as a workflow must be"
    two_arguments = "cannot be called with a workflow's two arguments, its context and the run's input"
    assert found["no-coroutine"]["workflow_fault"] == no_coroutine
    assert found["no-input"]["workflow_fault"] == two_arguments
    assert document["workflow_faults"] == {
        "flows:works": "",
        "flows:plain": no_coroutine,
        "flows:no_input": two_arguments,
    }


def test_declared_schedules(tmp_path: Path) -> None:
    code = """
        from datetime import date, datetime, timedelta, timezone
        from runsd import schedule, task, workflow
        @workflow("both", timeout=timedelta(seconds=9))
        @schedule("nightly", at=datetime(2027, 1, 1, tzinfo=timezone.utc), end_at=datetime(2027, 1, 2, 3),
                  jitter=timedelta(minutes=1), input={"after": timedelta(1)}, config={"day": date(2027, 1, 1)})
        @task("both")
        async def both(ctx, input): ...
        @schedule(every="1h")
        def neither(): ...
    """
    document = describe(tmp_path, "plans", plans=code)
    assert [(one["kind"], one["id"]) for one in document["declared"]] == [("task", "both"), ("workflow", "both")]
    nightly, hourly = document["schedules"]
    assert nightly == {
        "id": "nightly",
        "module": "plans",
        "qualname": "both",
        "file": str(tmp_path / "plans.py"),
        "options": {"at": "2027-01-01T00:00:00+00:00", "end_at": "2027-01-02T03:00:00", "jitter": 60.0},
        "faults": {
            "input": "$.after is of type timedelta, which is not JSON",
            "config": "$.day is of type date, which is not JSON",
        },
        "targets": ["task:both", "workflow:both"],
    }
    assert (hourly["id"], hourly["options"], hourly["targets"]) == (None, {"every": "1h"}, [])


def test_declared_tasks_and_errors_in_one_document(tmp_path: Path) -> None:
    code = """
        import functools, os, sys
        from runsd import Retry, WorkflowContext, schedule, task, workflow
        print("noise"); os.system("echo more noise"); sys.stdout.flush()
        @task
        def sync_data(ctx): ...
        alias = sync_data
        @task("reports/weekly", timeout_seconds=60, input_schema={"type": "object"}, env={1, 2})
        async def weekly(ctx): ...
        def make():
            @task("made")
            def inner(ctx): ...
            return inner
        made_here = make()
    """
    document = describe(tmp_path, "tasks", "broken", "tasks:sync_data", "tasks:nothing", tasks=code, broken="x = (")
    found = {t["id"]: (t["module"], t["qualname"], t["options"]) for t in document["declared"]}
    assert found == {
        "sync-data": ("tasks", "sync_data", {}),
        "reports/weekly": ("tasks", "weekly", {"timeout_seconds": 60, "input_schema": {"type": "object"}}),
        "made": ("tasks", "made_here", {}),
    }
    assert document["declared"][1]["faults"] == {"env": "$ is of type set, which is not JSON"}
    broken, nothing = document["errors"]
    assert (broken["reference"], broken["file"], broken["line"]) == ("broken", str(tmp_path / "broken.py"), 1)
    assert nothing["message"] == "module 'tasks' has no 'nothing'"


def test_a_function_may_be_declared_under_several_ids(tmp_path: Path) -> None:
    code = """
        from runsd import task

        @task("nightly", timeout_seconds=5)
        @task("by-hand")
        def sync(ctx): ...
    """
    declared = describe(tmp_path, "twice", twice=code)["declared"]
    assert [(one["id"], one["qualname"]) for one in declared] == [("by-hand", "sync"), ("nightly", "sync")]


def test_an_exception_is_located_in_the_project(tmp_path: Path) -> None:
    document = describe(tmp_path, "tasks", tasks="import json\n\njson.loads('')\n")
    (error,) = document["errors"]
    assert error["message"].startswith("JSONDecodeError: ")
    assert (error["file"], error["line"]) == (str(tmp_path / "tasks.py"), 3)


def test_exiting_modules_and_threads_left_running_do_no_harm(tmp_path: Path) -> None:
    threads = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    document = describe(tmp_path, "leaves", "threads", leaves="raise SystemExit(3)", threads=threads)
    assert [(e["reference"], e["message"]) for e in document["errors"]] == [("leaves", "SystemExit: 3")]
