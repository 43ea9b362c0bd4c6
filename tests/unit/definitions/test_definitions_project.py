import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.definitions import discovery
from runsd.definitions.origin import Origin
from runsd.definitions.project import ProjectUnreadable, load_project
from runsd.definitions.tasks import task_from_table
from runsd.model.targets import AdapterKind, Command, Project, PythonCallable


def project(directory: Path, toml: str, **modules: str) -> Project:
    text = textwrap.dedent(toml)
    header = "" if "[project]" in text else '[project]\nid = "p"\n'
    (directory / "runs.toml").write_text(header + text)
    for name, code in modules.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(code))
    return load_project(directory)


def problems_of(directory: Path, task: str) -> list[str]:
    loaded = project(directory, f'[tasks."t"]\n{textwrap.dedent(task)}')
    return [f"{p.key}: {p.message}" for p in loaded.definitions["task:t"].problems]


def test_every_kind_of_program(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    loaded = project(
        tmp_path,
        """
        [tasks."sync-data"]
        command = ["python3", "sync.py"]
        name = "Sync"
        description = "Syncs."
        timeout_seconds = 60
        backoff_limit = 3
        max_concurrent = 2
        env = {A = "1"}
        env_allowlist = ["HOME"]
        working_directory = "work"
        input_schema = {type = "object"}
        config_schema = "schema.json"
        [tasks."reports/weekly"]
        shell = "echo $HOME | wc"
        [tasks.callable]
        python = "code:Work.go"
        adapter = "inprocess"
        """,
        code="class Work:\n    def go(ctx): ...",
    )
    assert loaded.all_problems() == ()
    assert list(loaded.definitions) == ["task:callable", "task:reports/weekly", "task:sync-data"]
    sync = loaded.definitions["task:sync-data"]
    assert sync.program == Command(("python3", "sync.py"))
    assert sync.working_directory == tmp_path / "work"
    assert (sync.source, sync.timeout_seconds, sync.backoff_limit) == ("runs.toml", 60.0, 3)
    assert sync.input_schema == sync.config_schema == {"type": "object"}
    weekly = loaded.definitions["task:reports/weekly"]
    assert weekly.program == Command(("/bin/sh", "-c", "echo $HOME | wc"))
    assert weekly.working_directory == tmp_path
    callable_ = loaded.definitions["task:callable"]
    assert callable_.program == PythonCallable("code", "Work.go")
    assert callable_.adapter is AdapterKind.INPROCESS


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        ("", 'tasks."t": expected exactly one of command, shell and python, found none'),
        (
            'command = ["a"]\nshell = "b"',
            'tasks."t": expected exactly one of command, shell and python, found command',
        ),
        ("command = []", 'tasks."t".command: expected a program and its arguments'),
        ('command = "a"', 'tasks."t".command: expected an array of strings, found the string'),
        ('shell = " "', 'tasks."t".shell: expected a command line'),
        ('python = "tasks"', "tasks.\"t\".python: 'tasks' is no callable; write module:callable"),
        ('python = "os:nothing"', "tasks.\"t\".python: module 'os' has no 'nothing'"),
        ('python = "nothing:x"', "tasks.\"t\".python: there is no module 'nothing'"),
        ('shell = "x"\ncomand = ["a"]', 'tasks."t".comand: unknown key; did you mean command?'),
        ('shell = "x"\nbackoff_limit = 1001', 'tasks."t".backoff_limit: expected an integer from 0 to 1000'),
        ('shell = "x"\ntimeout_seconds = nan', 'tasks."t".timeout_seconds: expected a number from 0'),
        ('shell = "x"\nadapter = "docker"', "tasks.\"t\".adapter: expected one of 'subprocess', 'inprocess'"),
        (
            'shell = "x"\nadapter = "inprocess"',
            "tasks.\"t\".adapter: 'inprocess' is only for tasks with python",
        ),
        (
            'python = "os:getcwd"\nadapter = "inprocess"\nenv = {A = "b"}',
            'tasks."t".env: has no effect on an inprocess',
        ),
        (
            'shell = "x"\nenv_allowlist = ["RUNSD_API_TOKEN"]',
            'tasks."t".env_allowlist: RUNSD_API_TOKEN: the daemon\'s own variables are never passed on',
        ),
        ('shell = "x"\nenv = {RUNSD_X = "1"}', 'tasks."t".env: RUNSD_X: the daemon\'s own variables'),
        ('shell = "x"\nenv = {"A=B" = "1"}', "tasks.\"t\".env: 'A=B' is no variable"),
        (
            'shell = "x"\nworking_directory = "no"',
            "tasks.\"t\".working_directory: there is no directory 'no'",
        ),
        (
            'shell = "x"\ninput_schema = {type = "objekt"}',
            'tasks."t".input_schema: is not a JSON Schema: at $.type:',
        ),
        ('shell = "x"\ninput_schema = "no.json"', 'tasks."t".input_schema: no.json cannot be read'),
        (
            'shell = "x"\ninput_schema = "../x.json"',
            'tasks."t".input_schema: expected a table, or the path of',
        ),
        (
            'shell = "x"\noutput_schema = {default = 2020-01-01}',
            'tasks."t".output_schema: is not a JSON Schema',
        ),
        (
            'shell = "x"\noutput_schema = {"$ref" = "http://h/x"}',
            'tasks."t".output_schema: is not a JSON Schema',
        ),
    ],
)
def test_a_problem_stays_with_its_definition(tmp_path: Path, task: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, task)
    assert found.startswith(problem)


def test_one_broken_definition_takes_no_other_down(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        """
        [tasks]
        plain = 5
        "bad id" = {shell = "x"}
        good = {shell = "x"}
        """,
    )
    keys = {target: [p.key for p in d.problems] for target, d in loaded.definitions.items()}
    assert keys == {"task:plain": ['tasks."plain"'], "task:bad id": ['tasks."bad id"'], "task:good": []}


def test_declared_tasks(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        """
        [project]
        id = "p"
        modules = ["tasks", "broken"]
        [tasks.twice]
        shell = "x"
        """,
        tasks="""
        from runsd import task
        @task(timeout_seconds=5, env_allowlist=("HOME",), input_schema={"type": "object"})
        def sync_data(ctx): ...
        @task("wrong", backoff_limit=-1, retries=3, env={1})
        async def wrong(ctx): ...
        @task
        def twice(ctx): ...
        """,
        broken="import absent_module",
    )
    sync = loaded.definitions["task:sync-data"]
    assert sync.problems == ()
    assert (sync.program, sync.source) == (PythonCallable("tasks", "sync_data"), "tasks")
    assert (sync.timeout_seconds, sync.env_allowlist) == (5.0, ("HOME",))
    assert [str(p) for p in loaded.definitions["task:wrong"].problems] == [
        f'{tmp_path}/tasks.py: @task("wrong").env: is not JSON: $ is of type set, which is not JSON',
        f'{tmp_path}/tasks.py: @task("wrong").retries: unknown key; known keys: adapter, backoff_limit, '
        "config_schema, description, env, env_allowlist, input_schema, max_concurrent, name, on_interrupt, "
        "output_schema, timeout_seconds, working_directory",
        f'{tmp_path}/tasks.py: @task("wrong").backoff_limit: expected an integer from 0 to 1000, found the integer -1',
    ]
    (twice,) = loaded.definitions["task:twice"].problems
    assert "tasks:twice declares the id a second time, after runs.toml" in twice.message
    (broken,) = loaded.unread
    assert broken.key == "project.modules"
    assert broken.message == (
        "module 'broken' cannot be used: ModuleNotFoundError: No module named 'absent_module' "
        f"({tmp_path}/broken.py, line 1)"
    )


def test_a_module_that_kills_the_process_takes_only_itself_down(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        """
        [project]
        id = "p"
        modules = ["tasks"]
        [tasks.quits]
        python = "quits:x"
        [tasks.quits-well]
        python = "well:x"
        """,
        tasks="from runsd import task\n@task\ndef a(ctx): ...",
        quits="import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit(3)",
        well="import os\nos._exit(0)",
    )
    assert loaded.definitions["task:a"].problems == ()
    (problem,) = loaded.definitions["task:quits"].problems
    assert problem.message == "importing ended the process with status 3: last words"
    (problem,) = loaded.definitions["task:quits-well"].problems
    assert problem.message == "importing ended the process with status 0"


def test_a_module_that_does_not_end_is_ended(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import threading\nthreading.Event().wait()")
    began = time.monotonic()
    found = discovery.discover(tmp_path, ["hangs"], timeout=0.3)
    assert [str(error) for error in found.errors] == ["importing did not end in time"]
    assert time.monotonic() - began < 10


def test_the_daemon_s_variables_do_not_reach_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNSD_API_TOKEN", "secret")
    (tmp_path / "leaks.py").write_text("import os\nif 'RUNSD_API_TOKEN' in os.environ: raise ValueError")
    assert discovery.discover(tmp_path, ["leaks"]).errors == []


def test_without_python_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runsd.definitions.discovery._ask", lambda *_: pytest.fail("started"))
    assert project(tmp_path, "[tasks.a]\nshell = 'x'").all_problems() == ()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("x = ?", "is not TOML: Invalid value (at line 1, column 5)"),
        ("", "project: missing; expected a table"),
        ("[project]\nnaem = 'x'\nid = 'p'", "project.naem: unknown key; did you mean name?"),
        ("[project]\nid = 'a/b'", "project.id: 'a/b' is no project id"),
        ("[project]\nid = 'p'\nmodules = ['a-b']", "project.modules: 'a-b' is no Python module"),
        ("[project]\nid = 'p'\n[task.x]", "task: unknown key; did you mean tasks?"),
        ("tasks = 1\n[project]\nid = 'p'", "tasks: expected a table, found the integer 1"),
    ],
)
def test_a_file_that_makes_no_sense_is_an_error(tmp_path: Path, toml: str, message: str) -> None:
    (tmp_path / "runs.toml").write_text(toml)
    with pytest.raises(ProjectUnreadable) as raised:
        load_project(tmp_path)
    assert str(raised.value.problems[0]).startswith(f"{tmp_path}/runs.toml: {message}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProjectUnreadable, match="there is no such file; a project is a directory"):
        load_project(tmp_path)
    (tmp_path / "runs.toml").write_bytes(b"\xff")
    with pytest.raises(ProjectUnreadable, match="is not TOML: 'utf-8' codec"):
        load_project(tmp_path)


raw_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)
keys = ["command", "shell", "python", "adapter", "env", "env_allowlist", "working_directory", "input_schema"]


@given(st.text(max_size=5), st.dictionaries(st.sampled_from([*keys, "other"]), raw_values) | raw_values)
def test_no_table_raises_and_what_has_no_program_has_problems(id: str, raw: object) -> None:
    origin = Origin(Path(__file__).parent, "runs.toml", "runs.toml", f"tasks.{id}")
    definition = task_from_table(id, raw, origin)
    assert definition.program is not None or definition.problems


def test_modules_named_like_the_standard_library_s_do_not_disturb_discovery(tmp_path: Path) -> None:
    for name in ("json", "signal", "os"):
        (tmp_path / f"{name}.py").write_text("raise ValueError")
    (tmp_path / "tasks.py").write_text("from runsd import task\n@task\ndef a(ctx): ...")
    assert [task.id for task in discovery.discover(tmp_path, ["tasks"]).declared] == ["a"]
