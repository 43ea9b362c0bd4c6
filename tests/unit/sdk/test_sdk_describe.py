import asyncio
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import runsd
from runsd import task

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
    assert vars(sync_data)["__runsd_task__"].id == "sync-data"
    assert vars(named)["__runsd_task__"].options == {"timeout_seconds": 5, "env_allowlist": ["A"]}


def test_the_package_gives_its_names_lazily() -> None:
    program = "import sys, runsd; print(sorted(m for m in sys.modules if m.startswith('runsd')))"
    printed = subprocess.check_output([sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, text=True)
    assert printed == "['runsd']\n"
    assert issubclass(runsd.Cancelled, BaseException)
    assert not hasattr(runsd, "absent")


def test_declared_tasks_and_errors_in_one_document(tmp_path: Path) -> None:
    code = """
        import functools, os, sys
        from runsd import task
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
    found = {t["id"]: (t["module"], t["qualname"], t["options"]) for t in document["tasks"]}
    assert found == {
        "sync-data": ("tasks", "sync_data", {}),
        "reports/weekly": ("tasks", "weekly", {"timeout_seconds": 60, "input_schema": {"type": "object"}}),
        "made": ("tasks", "made_here", {}),
    }
    assert document["tasks"][1]["faults"] == {"env": "$ is of type set, which is not JSON"}
    broken, nothing = document["errors"]
    assert (broken["reference"], broken["file"], broken["line"]) == ("broken", str(tmp_path / "broken.py"), 1)
    assert nothing["message"] == "module 'tasks' has no 'nothing'"


def test_an_exception_is_located_in_the_project(tmp_path: Path) -> None:
    document = describe(tmp_path, "tasks", tasks="import json\n\njson.loads('')\n")
    (error,) = document["errors"]
    assert error["message"].startswith("JSONDecodeError: ")
    assert (error["file"], error["line"]) == (str(tmp_path / "tasks.py"), 3)


def test_exiting_modules_and_threads_left_running_do_no_harm(tmp_path: Path) -> None:
    threads = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    document = describe(tmp_path, "leaves", "threads", leaves="raise SystemExit(3)", threads=threads)
    assert [(e["reference"], e["message"]) for e in document["errors"]] == [("leaves", "SystemExit: 3")]
