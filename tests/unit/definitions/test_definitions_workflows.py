import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.definitions.origin import Origin
from runsd.definitions.project import load_project
from runsd.definitions.workflows import workflow_from_table
from runsd.model.pipelines import (
    AwaitApproval,
    AwaitSignal,
    Pause,
    Pipeline,
    PipelineStep,
    RetryPolicy,
    RunTarget,
    Strategy,
)
from runsd.model.settings import Backoff, RetrySettings
from runsd.model.targets import AdapterKind, Definition, OnInterrupt, Project, PythonCallable, RunKind, Target

TASKS = """
[tasks.research]
shell = "x"
[tasks."reports/write"]
shell = "x"
[[workflows.other.steps]]
id = "nap"
sleep = 1
"""
FLOWS = "async def other(ctx, input): ...\ndef plain(ctx, input): ...\nasync def narrow(ctx): ..."


def project(directory: Path, toml: str, flows: str = FLOWS) -> Project:
    text = textwrap.dedent(toml)
    header = "" if "[project]" in text else '[project]\nid = "p"\n'
    (directory / "runs.toml").write_text(header + TASKS + text)
    (directory / "flows.py").write_text(textwrap.dedent(flows))
    return load_project(directory)


def workflow(directory: Path, toml: str) -> Definition:
    loaded = project(directory, f"[workflows.w]\n{textwrap.dedent(toml)}")
    broken = {target for target, definition in loaded.definitions.items() if definition.problems}
    assert broken <= {"workflow:w"}
    return loaded.definitions["workflow:w"]


def steps(directory: Path, *tables: str, options: str = "") -> Definition:
    """`tables` are the lines of a step each."""
    return workflow(directory, options + "".join(f"\n[[workflows.w.steps]]\n{textwrap.dedent(t)}" for t in tables))


def problems(definition: Definition) -> list[str]:
    return [f"{problem.key}: {problem.message}" for problem in definition.problems]


A = 'id = "a"\ntask = "research"'
B = 'id = "b"\ntask = "research"'


def test_every_kind_of_step(tmp_path: Path) -> None:
    definition = steps(
        tmp_path,
        """
        id = "research"
        task = "task:research"
        input = {topic = "${input.topic}", limits = [1, "${config.limit}"]}
        config = {deep = true}
        retry = 2
        timeout = "10m"
        """,
        """
        id = "draft"
        workflow = "other"
        for_each = "steps.research.output.sections"
        input = {section = "${item}", number = "${index + 1}"}
        concurrency = 4
        strategy = "all_settled"
        retry = {max_attempts = 5, backoff = "linear", initial_delay = "2s", max_delay = 60}
        """,
        """
        id = "editor-review"
        wait = {approval = "Read ${input.topic}", approvers = ["${input.editor}", "eve"], schema = {type = "object"}}
        when = "${size(steps.draft.output) > 0}"
        timeout = "24h"
        """,
        """
        id = "stocked"
        needs = []
        wait = {signal = "paper.arrived"}
        """,
        """
        id = "night"
        needs = ["stocked"]
        sleep = "8h"
        """,
        """
        id = "publish"
        needs = ["editor-review", "night"]
        task = "reports/write"
        for_each = "steps.draft.output"
        """,
        options='output = {by = "${steps["editor-review"].output.by}", all = "${steps.publish.output}"}'.replace(
            '"editor-review"', "'editor-review'"
        ),
    )
    assert definition.problems == ()
    pipeline = definition.program
    assert isinstance(pipeline, Pipeline)
    assert pipeline.steps == (
        PipelineStep(
            "research",
            RunTarget(
                "task:research", {"topic": "${input.topic}", "limits": [1, "${config.limit}"]}, config={"deep": True}
            ),
            retry=RetryPolicy(max_attempts=3, has_delays=False),
            timeout_seconds=600.0,
        ),
        PipelineStep(
            "draft",
            RunTarget("workflow:other", {"section": "${item}", "number": "${index + 1}"}),
            needs=("research",),
            for_each="steps.research.output.sections",
            concurrency=4,
            strategy=Strategy.ALL_SETTLED,
            retry=RetryPolicy(5, Backoff.LINEAR, 2.0, 60.0),
        ),
        PipelineStep(
            "editor-review",
            AwaitApproval("Read ${input.topic}", ("${input.editor}", "eve"), {"type": "object"}),
            needs=("draft",),
            when="size(steps.draft.output) > 0",
            timeout_seconds=86400.0,
        ),
        PipelineStep("stocked", AwaitSignal("paper.arrived")),
        PipelineStep("night", Pause(28800.0), needs=("stocked",)),
        PipelineStep(
            "publish",
            RunTarget("task:reports/write", "${item}"),
            needs=("editor-review", "night"),
            for_each="steps.draft.output",
        ),
    )
    assert pipeline.output == {"by": "${steps['editor-review'].output.by}", "all": "${steps.publish.output}"}


def test_options_of_a_workflow(tmp_path: Path) -> None:
    definition = steps(
        tmp_path,
        A,
        options="""
        name = "Content"
        description = "Writes."
        version = "2"
        timeout = "1h"
        retry = {max_attempts = 4, backoff = "fixed", initial_delay = "1m"}
        on_error = "task:research"
        on_complete = "workflow:other"
        max_concurrent = 3
        on_interrupt = "fail"
        input_schema = {type = "object"}
        """,
    )
    assert definition == Definition(
        target=Target(RunKind.WORKFLOW, "w"),
        program=Pipeline((PipelineStep("a", RunTarget("task:research")),)),
        source="runs.toml",
        working_directory=tmp_path,
        name="Content",
        description="Writes.",
        adapter=AdapterKind.WORKFLOW,
        timeout_seconds=3600.0,
        backoff_limit=3,
        max_concurrent=3,
        on_interrupt=OnInterrupt.FAIL,
        input_schema={"type": "object"},
        version="2",
        retry=RetrySettings(backoff=Backoff.FIXED, initial_delay_seconds=60.0, max_delay_seconds=300.0),
        on_error="task:research",
        on_complete="workflow:other",
    )


def test_a_number_of_retries_takes_the_daemon_s_delays(tmp_path: Path) -> None:
    definition = steps(tmp_path, A, options="retry = 2")
    assert (definition.problems, definition.backoff_limit, definition.retry) == ((), 2, None)


def test_a_workflow_in_python(tmp_path: Path) -> None:
    definition = workflow(tmp_path, 'python = "flows:other"\nversion = "1"')
    assert (definition.problems, definition.program) == ((), PythonCallable("flows", "other"))
    assert (definition.adapter, definition.version) == (AdapterKind.WORKFLOW, "1")


def test_declared_workflows(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        '[project]\nid = "p"\nmodules = ["flows"]',
        """
        from datetime import timedelta
        from runsd import Retry, workflow
        @workflow(version="1", timeout=timedelta(minutes=1), retry=Retry(2, "fixed", "5s"), on_error="task:research")
        async def content_pipeline(ctx, input): ...
        @workflow("wrong", version=1, timeout="soon", retries=1, on_complete="task:nothing")
        def wrong(ctx, input): ...
        async def other(ctx, input): ...
        """,
    )
    content = loaded.definitions["workflow:content-pipeline"]
    assert content.problems == ()
    assert (content.program, content.source) == (PythonCallable("flows", "content_pipeline"), "flows")
    assert (content.timeout_seconds, content.backoff_limit) == (60.0, 1)
    assert content.retry == RetrySettings(backoff=Backoff.FIXED, initial_delay_seconds=5.0)
    file, key = f"{tmp_path}/flows.py", '@workflow("wrong")'
    assert [str(problem).partition("; known")[0] for problem in loaded.definitions["workflow:wrong"].problems] == [
        f"{file}: {key}.retries: unknown key",
        f"{file}: {key}.version: expected a string, found the integer 1",
        f"{file}: {key}.timeout: 'soon' is no duration; write '30s', '10m', '24h', '7d' or a number of seconds",
        f"{file}: {key}: flows:wrong is no `async def`, as a workflow must be",
        f"{file}: {key}.on_complete: the project has no task:nothing",
    ]


def test_a_task_and_a_workflow_may_share_an_id_and_two_workflows_may_not(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        '[project]\nid = "p"\nmodules = ["flows"]\n[workflows.research]\npython = "flows:other"',
        "from runsd import workflow\n@workflow\nasync def other(ctx, input): ...",
    )
    assert loaded.definitions["workflow:research"].problems == ()
    (problem,) = loaded.definitions["workflow:other"].problems
    assert loaded.definitions["workflow:other"].source == "runs.toml"
    assert "flows:other declares the id a second time, after runs.toml" in problem.message


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("", 'workflows."w": expected either python or steps, found none'),
        ('python = "flows:other"\nsteps = []', 'workflows."w": expected either python or steps, found python and'),
        ('python = "flows"', "workflows.\"w\".python: 'flows' is no callable"),
        ('python = "flows:plain"', 'workflows."w".python: flows:plain is no `async def`, as a workflow must be'),
        ('python = "flows:narrow"', 'workflows."w".python: flows:narrow cannot be called with a workflow\'s two'),
        ('python = "flows:nothing"', "workflows.\"w\".python: module 'flows' has no 'nothing'"),
        ('python = "flows:other"\noutput = 1', 'workflows."w".output: is for workflows with steps'),
        ('python = "flows:other"\nadapter = "inprocess"', 'workflows."w".adapter: unknown key'),
        ('python = "flows:other"\ntimeout = -1', 'workflows."w".timeout: expected a number from 0'),
        ('python = "flows:other"\ntimeout = true', 'workflows."w".timeout: expected a string or a number from 0'),
        ('python = "flows:other"\ntimeout = "5 parsecs"', "workflows.\"w\".timeout: '5 parsecs' is no duration"),
        ('python = "flows:other"\nretry = -1', 'workflows."w".retry: expected an integer from 0 to 1000'),
        ('python = "flows:other"\nretry = {backof = "fixed"}', 'workflows."w".retry.backof: unknown key; did you'),
        ('python = "flows:other"\nretry = {backoff = "x"}', "workflows.\"w\".retry.backoff: expected one of 'fixed'"),
        (
            'python = "flows:other"\nretry = {initial_delay = "10m"}',
            'workflows."w".retry: max_delay (300 s) is less than initial_delay (600 s); raise max_delay',
        ),
        ('python = "flows:other"\non_error = "research"', "workflows.\"w\".on_error: 'research' is not a target"),
        (
            'python = "flows:other"\non_error = "task:reserch"',
            'workflows."w".on_error: the project has no task:reserch; did you mean task:research?',
        ),
        ('python = "flows:other"\non_error = "workflow:w"', 'workflows."w".on_error: a workflow cannot follow itself'),
        ("steps = []", 'workflows."w".steps: a workflow has 1 to 10,000 steps, not 0'),
        ("steps = 1", 'workflows."w".steps: expected [[workflows."<id>".steps]]'),
        ("steps = [1]", 'workflows."w".steps: expected [[workflows."<id>".steps]]'),
    ],
)
def test_a_problem_of_a_workflow_stays_with_it(tmp_path: Path, toml: str, problem: str) -> None:
    (found,) = problems(workflow(tmp_path, toml))
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ('task = "research"', "steps[0].id: missing; expected a string"),
        ('id = "a b"\ntask = "research"', "steps[0].id: 'a b' is no step id"),
        ('id = "1a"\ntask = "research"', "steps[0].id: '1a' is no step id"),
        ('id = "a"', "steps.a: expected exactly one of task, workflow, wait, sleep, found none"),
        (f'{A}\nsleep = "1s"', "steps.a: expected exactly one of task, workflow, wait, sleep, found task and sleep"),
        (f"{A}\nneed = []", "steps.a.need: unknown key; did you mean needs?"),
        ('id = "a"\ntask = "reserch"', "steps.a.task: the project has no task:reserch; did you mean task:research?"),
        ('id = "a"\nworkflow = "research"', "steps.a.workflow: the project has no workflow:research"),
        ('id = "a"\ntask = "workflow:other"', "steps.a.task: 'workflow:other' is no task; write its id"),
        ('id = "a"\nsleep = "soon"', "steps.a.sleep: 'soon' is no duration"),
        ('id = "a"\nsleep = -1', "steps.a.sleep: expected a number from 0"),
        (f'{A}\ntimeout = "soon"', "steps.a.timeout: 'soon' is no duration"),
        ('id = "a"\nsleep = 1\ntimeout = 2', "steps.a.timeout: is not for steps with sleep"),
        ('id = "a"\nsleep = 1\nretry = 2', "steps.a.retry: is for steps with task or workflow"),
        ('id = "a"\nwait = {signal = "s"}\ninput = 2', "steps.a.input: is for steps with task or workflow"),
        ('id = "a"\nwait = {approval = "m"}\nfor_each = "[1]"', "steps.a.for_each: is for steps with task or workflow"),
        (f"{A}\nconcurrency = 2", "steps.a.concurrency: is for steps with for_each"),
        (f'{A}\nfor_each = "[1]"\nconcurrency = 0', "steps.a.concurrency: expected an integer from 1"),
        (f'{A}\nfor_each = "[1]"\nstrategy = "some"', "steps.a.strategy: expected one of 'all', 'race', 'all_settled'"),
        ('id = "a"\nwait = {}', "steps.a.wait: expected approval (the message to whoever decides) or signal"),
        ('id = "a"\nwait = {signal = "a/b"}', "steps.a.wait.signal: 'a/b' is no name"),
        ('id = "a"\nwait = {signal = "s", approvers = ["x"]}', "steps.a.wait: approvers and schema are of an approval"),
        ('id = "a"\nwait = {approval = "m", approvers = []}', "steps.a.wait.approvers: expected one or more names"),
        ('id = "a"\nwait = {approval = "m", approvers = [""]}', "steps.a.wait.approvers: expected one or more names"),
        (
            'id = "a"\nwait = {approval = "m", schema = {type = "objekt"}}',
            "steps.a.wait.schema: is not a JSON Schema: at $.type",
        ),
        (f'{A}\nwhen = " "', "steps.a.when: expected an expression; it is empty"),
        (f'{A}\nwhen = "input."', "steps.a.when: ${input.}: is no expression: line 1, column 7"),
        (f'{A}\nwhen = "inputs.x == 1"', "steps.a.when: ${inputs.x == 1}: there is no variable 'inputs' here; did you"),
        (f'{A}\nwhen = "item == 1"', "steps.a.when: ${item == 1}: there is no variable 'item' here"),
        (f'{A}\nfor_each = "nothing(1)"', "steps.a.for_each: ${nothing(1)}: there is no function 'nothing'"),
        (f'{A}\ninput = {{x = [0, "${{item}}"]}}', "steps.a.input.x[1]: ${item}: there is no variable 'item' here"),
        (f'{A}\ninput = "${{x"', "steps.a.input: a ${ has no } that ends it"),
        (f"{A}\nconfig = {{on = 2020-01-01}}", "steps.a.config.on: a date, which is not JSON"),
        (f'{A}\nneeds = ["c"]', "steps.a.needs: there is no step 'c'; known steps: a"),
        (f'{A}\nneeds = ["a"]', "steps.a.needs: step 'a' needs itself"),
        (f'{A}\ninput = "${{steps.c.output}}"', "steps.a.input: ${steps.c.output}: there is no step 'c'"),
        (f'{A}\ninput = "${{steps.a.output}}"', "steps.a.input: ${steps.a.output}: a step cannot use its own output"),
        (f'{A}\nwhen = "steps.a > 1"', "steps.a.when: ${steps.a > 1}: of step 'a' there is only its output"),
    ],
)
def test_a_problem_of_a_step_names_it_and_its_key(tmp_path: Path, step: str, problem: str) -> None:
    definition = steps(tmp_path, step)
    (found,) = problems(definition)
    assert found.startswith(f'workflows."w".{problem}')
    assert definition.problems[0].file == str(tmp_path / "runs.toml")


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ([A, A], "steps[1].id: there is a step 'a' already; ids are given once"),
        (
            [f'{A}\nneeds = ["b"]', 'id = "c"\nsleep = 1\nneeds = ["a"]', f'{B}\nneeds = ["c"]'],
            "needs: steps need each other in a circle: ",
        ),
        (
            [A, f'{B}\nneeds = []\ninput = "${{steps.a.output}}"'],
            "steps.b.input: ${steps.a.output}: uses the output of 'a', which this step does not need; add it to needs",
        ),
        (
            [f'{A}\nwhen = "steps.b.output"\nneeds = []', B],
            "steps.a.when: ${steps.b.output}: uses the output of 'b', which this step does not need; add it to needs",
        ),
        (
            ['id = "editor-review"\nsleep = 1', f'{B}\nwhen = "steps.editor.output"'],
            "steps.b.when: ${steps.editor.output}: there is no step 'editor'; write steps[\"editor-review\"]",
        ),
        (
            ['id = "a"\nwait = {signal = "s"}', 'id = "b"\nwait = {signal = "s"}'],
            "steps.b.wait: step 'a' waits for 's' already; give one of them another",
        ),
        ([A, 'id = "b"\nwait = {signal = "a"}'], "steps.b.wait: the signal 'a' is named like another step"),
    ],
)
def test_steps_that_do_not_fit_together(tmp_path: Path, tables: list[str], problem: str) -> None:
    (found,) = problems(steps(tmp_path, *tables))
    assert problem in found


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ('"${steps.c.output}"', "output: ${steps.c.output}: there is no step 'c'; known steps: a"),
        ('{x = "${item}"}', "output.x: ${item}: there is no variable 'item' here"),
        ("2020-01-01", "output: a date, which is not JSON"),
    ],
)
def test_a_problem_of_the_output(tmp_path: Path, output: str, problem: str) -> None:
    (found,) = problems(steps(tmp_path, A, options=f"output = {output}"))
    assert found.startswith(f'workflows."w".{problem}')


def test_outputs_of_steps_further_back_may_be_used(tmp_path: Path) -> None:
    uses = 'input = ["${steps.a.output}", "${steps.b.output}"]'
    definition = steps(tmp_path, A, B, f'id = "c"\ntask = "research"\n{uses}', f'id = "d"\ntask = "research"\n{uses}')
    assert problems(definition) == []


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    definition = steps(
        tmp_path, f'{A}\nwhen = "1 +"\ninput = "${{x}}"', 'id = "b"', 'id = "c"\nsleep = "x"', options="nmae = 1"
    )
    assert [problem.key.removeprefix('workflows."w".') for problem in definition.problems] == [
        "nmae",
        "steps.a.when",
        "steps.a.input",
        "steps.b",
        "steps.c.sleep",
    ]


def test_one_broken_workflow_takes_no_other_down(tmp_path: Path) -> None:
    loaded = project(tmp_path, '[workflows]\nplain = 5\n"bad id" = {python = "flows:other"}')
    keys = {target: [p.key for p in d.problems] for target, d in loaded.definitions.items() if d.problems}
    assert keys == {"workflow:plain": ['workflows."plain"'], "workflow:bad id": ['workflows."bad id"']}


raw_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a", "b", "${", "${steps.a.output}", "1s"])
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "signal", "approval"]), inner),
    max_leaves=5,
)
ACTIONS = st.sampled_from([{"task": "a"}, {"workflow": "b"}, {"sleep": 1}, {"wait": {"signal": "c"}}, {}])
OTHERS = st.dictionaries(
    st.sampled_from(
        ["needs", "input", "config", "when", "for_each", "concurrency", "strategy", "retry", "timeout", "x"]
    ),
    raw_values,
    max_size=3,
)
NEEDS = st.fixed_dictionaries({}, optional={"needs": st.lists(st.sampled_from("abcd"), max_size=3)})
TABLES = st.builds(
    lambda id, action, needs, others: {"id": id, **action, **needs, **others},
    st.sampled_from("abcd") | raw_values,
    ACTIONS,
    NEEDS,
    OTHERS,
)


@given(st.lists(TABLES, max_size=4) | raw_values, raw_values)
def test_no_table_raises_and_a_pipeline_without_problems_can_be_ordered(tables: object, output: object) -> None:
    origin = Origin(Path(__file__).parent, "runs.toml", "runs.toml", "workflows.w")
    definition = workflow_from_table("w", {"steps": tables, "output": output}, origin)
    if definition.problems:
        assert definition.program is None or not isinstance(definition.program, Pipeline)
        return
    assert isinstance(definition.program, Pipeline)
    assert sum(map(len, definition.program.levels())) == len(definition.program.steps)


@pytest.mark.parametrize(
    ("more", "is_endless"),
    [("", True), ('needs = ["first"]', True), ('when = "input > 0"', False), ('for_each = "input.parts"', False)],
)
def test_a_workflow_that_executes_itself_needs_an_end(tmp_path: Path, more: str, is_endless: bool) -> None:
    loaded = project(
        tmp_path,
        f"""
        [[workflows.w.steps]]
        id = "first"
        task = "research"
        [[workflows.w.steps]]
        id = "again"
        workflow = "w"
        {more}
        """,
    )
    message = "the workflow executes itself without end; give the step a condition with when"
    said = [(p.file, p.key, p.message) for p in loaded.definitions["workflow:w"].problems]
    expected = [(f"{tmp_path}/runs.toml", 'workflows."w".steps.again.workflow', message)]
    assert said == (expected if is_endless else [])
