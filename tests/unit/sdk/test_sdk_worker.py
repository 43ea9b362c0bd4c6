import asyncio
import json
import os
import signal
import sys
import textwrap
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Ended:
    status: int
    stdout: str
    stderr: str
    directory: Path

    def document(self, name: str) -> Any:
        file = self.directory / name
        return json.loads(file.read_bytes()) if file.exists() else None

    @property
    def events(self) -> list[Any]:
        return [json.loads(line) for line in (self.directory / "events").read_bytes().splitlines()]


class Attempt:
    """A worker process on a module with the given code."""

    def __init__(self, directory: Path, code: str) -> None:
        self.directory = directory
        (directory / "project").mkdir()
        (directory / "artifacts").mkdir()
        (directory / "state").mkdir()
        (directory / "project/tasks.py").write_text(textwrap.dedent(code))
        (directory / "input").write_text('{"n": 9007199254740993}')

    def environment(self) -> dict[str, str]:
        files = ("input", "config", "output", "error", "events", "artifacts", "state")
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **{f"RUNSD_{name.upper()}": str(self.directory / name) for name in files},
            "RUNSD_RUN_ID": "r1",
            "RUNSD_PROJECT": "p",
            "RUNSD_TARGET": "task:t",
            "RUNSD_ATTEMPT": "2",
            "RUNSD_ADDRESS": "unix:/s",
        }

    async def start(self, qualname: str, module: str = "tasks") -> Process:
        program = "from runsd.sdk.worker import main; main()"
        arguments = ("-c", program, str(self.directory / "project"), module, qualname)
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=self.environment(), cwd="/", stdout=PIPE, stderr=PIPE
        )

    async def end(self, process: Process) -> Ended:
        stdout, stderr = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, stdout.decode(), stderr.decode(), self.directory)

    async def run(self, qualname: str = "work", module: str = "tasks") -> Ended:
        return await self.end(await self.start(qualname, module))


async def test_a_task_gets_its_context_and_leaves_output_and_events(tmp_path: Path) -> None:
    attempt = Attempt(
        tmp_path,
        """
        from runsd import task, Context
        @task("t")
        def work(ctx: Context):
            ctx.emit("rows.loaded", {"text": "ü"})
            ctx.progress(0.5, "half")
            ctx.log("hello")
            ctx.save_artifact("a/b", b"x")
            print("printed")
            return [ctx.run_id, ctx.project, ctx.target, ctx.attempt, ctx.input, ctx.config, ctx.address,
                    str(ctx.state_dir), ctx.cancelled]
        """,
    )
    ended = await attempt.run()
    assert (ended.status, ended.stdout, ended.stderr) == (0, "printed\n", "")
    state = str(tmp_path / "state")
    expected = ["r1", "p", "task:t", 2, {"n": 9007199254740993}, None, "unix:/s", state, False]
    assert ended.document("output") == expected
    assert ended.document("error") is None
    assert ended.events == [
        {"event_type": "rows.loaded", "payload": {"text": "ü"}},
        {"event_type": "progress", "payload": {"fraction": 0.5, "message": "half"}},
        {"event_type": "log", "payload": {"stream": "stdout", "text": "hello\n"}},
    ]
    assert (tmp_path / "artifacts/a/b").read_bytes() == b"x"


async def test_none_is_no_output(tmp_path: Path) -> None:
    ended = await Attempt(tmp_path, "def work(ctx): pass").run()
    assert (ended.status, ended.document("output"), ended.document("error")) == (0, None, None)
    assert not (tmp_path / "output").exists()


async def test_an_async_task_with_a_dotted_name(tmp_path: Path) -> None:
    code = """
        import asyncio
        class Work:
            @staticmethod
            async def go(ctx):
                await asyncio.sleep(0)
                await ctx.drain()
                return {"ok": True}
    """
    ended = await Attempt(tmp_path, code).run("Work.go")
    assert (ended.status, ended.document("output")) == (0, {"ok": True})


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_an_exception_is_told_with_the_traceback_of_user_code(tmp_path: Path, kind: str) -> None:
    code = f"""
        {kind} work(ctx):
            raise ValueError("no rows")
    """
    ended = await Attempt(tmp_path, code).run()
    error = ended.document("error")
    assert ended.status == 1
    assert (error["message"], error["code"]) == ("ValueError: no rows", "exception")
    assert error["detail"]["type"] == "ValueError"
    assert error["detail"]["traceback"] == ended.stderr
    lines = ended.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "tasks.py" in lines[1]
    assert "worker.py" not in ended.stderr


async def test_an_exception_while_importing(tmp_path: Path) -> None:
    ended = await Attempt(tmp_path, "import absent_module").run()
    assert ended.status == 1
    assert ended.document("error")["message"] == "ModuleNotFoundError: No module named 'absent_module'"
    assert ended.stderr.splitlines()[1].lstrip().startswith(f'File "{tmp_path}/project/tasks.py"')


@pytest.mark.parametrize(
    ("module", "qualname", "message"),
    [
        ("absent", "work", "there is no module 'absent'"),
        ("tasks", "absent", "module 'tasks' has no 'absent'"),
        ("tasks", "number", "tasks:number is int, not a callable"),
    ],
)
async def test_a_callable_that_is_not_there(tmp_path: Path, module: str, qualname: str, message: str) -> None:
    ended = await Attempt(tmp_path, "number = 1").run(qualname, module)
    assert (ended.status, ended.stderr) == (1, f"runsd: {message}\n")
    assert ended.document("error") == {"message": message, "code": "start_failed", "detail": None}


async def test_an_output_that_is_not_json(tmp_path: Path) -> None:
    ended = await Attempt(tmp_path, "def work(ctx): return {'rows': [1, {2}]}").run()
    message = "the task returned a value that is not JSON: $.rows[1] is of type set, which is not JSON"
    assert ended.status == 1
    assert ended.document("error") == {"message": message, "code": "output_invalid", "detail": None}
    assert ended.document("output") is None


@pytest.mark.parametrize(("argument", "status"), [("0", 0), ("7", 7), ("'bye'", 1)])
async def test_sys_exit_passes_its_status(tmp_path: Path, argument: str, status: int) -> None:
    ended = await Attempt(tmp_path, f"import sys\ndef work(ctx): sys.exit({argument})").run()
    assert (ended.status, ended.document("error"), ended.document("output")) == (status, None, None)


async def test_by_hand_it_says_who_starts_it(tmp_path: Path) -> None:
    program = "from runsd.sdk.worker import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={"PYTHONPATH": str(ROOT)}, stderr=PIPE
    )
    _, stderr = await process.communicate()
    assert process.returncode == 2
    assert b"started by the runsd daemon" in stderr
    assert b"Traceback" not in stderr


CANCELLABLE = {
    "def": """
        import time
        from runsd import Cancelled
        def work(ctx):
            try:
                print("ready")
                while True:
                    time.sleep(60)
            finally:
                print("cancelled" if ctx.cancelled else "not cancelled")
    """,
    "async def": """
        import asyncio
        async def work(ctx):
            try:
                print("ready")
                await asyncio.Event().wait()
            finally:
                print("cancelled" if ctx.cancelled else "not cancelled")
    """,
}


@pytest.mark.parametrize("kind", CANCELLABLE)
async def test_sigterm_cancels(tmp_path: Path, kind: str) -> None:
    attempt = Attempt(tmp_path, CANCELLABLE[kind])
    process = await attempt.start("work")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    ended = await attempt.end(process)
    assert (ended.status, ended.stdout, ended.stderr) == (143, "cancelled\n", "")
    assert ended.document("error") is None


PATIENT = {
    "def": """
        import time
        from runsd import Cancelled
        def work(ctx):
            try:
                print("ready")
                while True:
                    time.sleep(60)
            except Cancelled:
                print("caught")
            input()
            return "finished"
    """,
    "async def": """
        import asyncio
        async def work(ctx):
            try:
                print("ready")
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("caught")
            await asyncio.to_thread(input)
            return "finished"
    """,
}


@pytest.mark.parametrize("kind", PATIENT)
async def test_a_second_sigterm_does_not_interrupt_the_cleaning_up(tmp_path: Path, kind: str) -> None:
    attempt = Attempt(tmp_path, PATIENT[kind])
    program = "from runsd.sdk.worker import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "project"), "tasks", "work"),
        env=attempt.environment(),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    for line in (b"ready\n", b"caught\n"):
        assert await process.stdout.readline() == line
        process.send_signal(signal.SIGTERM)
    process.stdin.write(b"\n")
    ended = await attempt.end(process)
    assert (ended.status, ended.document("output")) == (0, "finished")


async def test_sigterm_while_importing_cancels(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, "import time\nprint('ready')\ntime.sleep(60)")
    process = await attempt.start("work")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ended = await attempt.end(process)
    assert (ended.status, ended.stderr, ended.document("error")) == (143, "", None)


async def test_lines_of_concurrent_writers_do_not_mix(tmp_path: Path) -> None:
    code = """
        import os
        def work(ctx):
            children = []
            for _ in range(4):
                pid = os.fork()
                if pid == 0:
                    for i in range(200):
                        ctx.emit("x", {"text": "y" * 5000})
                    os._exit(0)
                children.append(pid)
            for pid in children:
                os.waitpid(pid, 0)
    """
    ended = await Attempt(tmp_path, code).run()
    assert ended.status == 0
    assert len(ended.events) == 800


async def test_only_what_is_needed_is_imported(tmp_path: Path) -> None:
    code = """
        from runsd import task, Context, Cancelled
        import sys
        @task
        def work(ctx):
            heavy = {"asyncio", "dataclasses", "inspect", "pathlib", "typing", "traceback"}
            return sorted(heavy & sys.modules.keys())
    """
    ended = await Attempt(tmp_path, code).run()
    # What the interpreter loads by itself is not ours to avoid.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import json, signal, sys; print(sorted(sys.modules))", stdout=PIPE
    )
    bare, _ = await process.communicate()
    assert [name for name in ended.document("output") if f"'{name}'" not in bare.decode()] == []
