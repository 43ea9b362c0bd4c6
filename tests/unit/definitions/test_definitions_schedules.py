import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runsd.definitions.project import ProjectUnreadable, load_project
from runsd.model.schedules import CatchUp, ConcurrencyPolicy, ScheduleSpec
from runsd.model.targets import Project
from runsd.model.timetables import Cron, Every, Once, Timetable

HEADER = """
[project]
id = "p"
modules = {modules}
[tasks.sync]
shell = "true"
[tasks.strict]
shell = "true"
input_schema = {{ type = "object", properties = {{ n = {{ type = "integer" }} }} }}
config_schema = {{ type = ["object", "null"], additionalProperties = false }}
"""


def project(directory: Path, toml: str = "", **modules: str) -> Project:
    (directory / "runs.toml").write_text(HEADER.format(modules=sorted(modules)) + textwrap.dedent(toml))
    for name, code in modules.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(code))
    return load_project(directory)


def spec_of(directory: Path, table: str) -> ScheduleSpec:
    schedule = project(directory, f"[schedules.s]\n{textwrap.dedent(table)}").schedules["s"]
    assert schedule.problems == ()
    assert schedule.spec is not None
    return schedule.spec


def problems_of(directory: Path, table: str) -> list[str]:
    schedule = project(directory, f'[schedules."s"]\n{textwrap.dedent(table)}').schedules["s"]
    assert schedule.spec is None
    assert {problem.file for problem in schedule.problems} == {str(directory / "runs.toml")}
    return [f"{problem.key}: {problem.message}" for problem in schedule.problems]


def decorated(directory: Path, code: str) -> Project:
    imports = "from datetime import *\nfrom zoneinfo import ZoneInfo\nfrom runsd import schedule, task, workflow\n"
    return project(directory, code=imports + textwrap.dedent(code))


def micros(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


def test_every_key(tmp_path: Path) -> None:
    loaded = project(
        tmp_path,
        """
        [schedules."reports/nightly"]
        target = "task:sync"
        cron = "30  2 * * *"
        timezone = "Europe/Stockholm"
        start_at = 2027-01-01T00:00:00Z
        end_at = "2028-01-01T01:00:00+01:00"
        max_runs = 100
        jitter = "5m"
        name = "Nightly"
        description = "Syncs."
        input = { csv = "å.csv", rows = [1, 2.5, true] }
        config = 5
        metadata = { team = "data" }
        priority = -3
        timeout_seconds = 60
        backoff_limit = 0
        concurrency_policy = "Queue"
        catch_up = "ALL"
        catch_up_window = "7d"
        max_staleness_seconds = "26h"
        """,
    )
    assert loaded.all_problems() == ()
    schedule = loaded.schedules["reports/nightly"]
    assert (schedule.id, schedule.source) == ("reports/nightly", "runs.toml")
    assert schedule.spec == ScheduleSpec(
        target="task:sync",
        timetable=Timetable(Cron("30 2 * * *", "Europe/Stockholm"), micros(2027, 1, 1), micros(2028, 1, 1)),
        description="Syncs.",
        run_name="Nightly",
        input_json='{"csv":"å.csv","rows":[1,2.5,true]}',
        config_json="5",
        metadata_json='{"team":"data"}',
        priority=-3,
        timeout_seconds=60.0,
        backoff_limit=0,
        concurrency_policy=ConcurrencyPolicy.QUEUE,
        catch_up=CatchUp.ALL,
        catch_up_window_seconds=7 * 86400.0,
        jitter_seconds=300.0,
        max_runs=100,
        max_staleness_seconds=26 * 3600.0,
    )


def test_without_more_than_it_needs_it_is_as_the_contract_says(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, 'target = "task:sync"\ncron = "0 * * * *"')
    assert spec == ScheduleSpec("task:sync", Timetable(Cron("0 * * * *", "UTC")))


@pytest.mark.parametrize(
    ("when", "timetable"),
    [
        ("at = 2027-03-01T09:00:00+01:00", Timetable(Once(micros(2027, 3, 1, 8)))),
        ('at = "2027-03-01T09:00:00.5Z"', Timetable(Once(micros(2027, 3, 1, 9) + 500_000))),
        ("at = 2007-03-01T09:00:00Z", Timetable(Once(micros(2007, 3, 1, 9)))),  # over already is no mistake
        ('every = "10m"', Timetable(Every(600_000_000))),
        ("every = 90\nanchor = 2027-01-01T00:00:30Z", Timetable(Every(90_000_000, micros(2027, 1, 1, 0, 0, 30)))),
    ],
)
def test_every_kind_of_timetable(tmp_path: Path, when: str, timetable: Timetable) -> None:
    assert spec_of(tmp_path, f'target = "task:sync"\n{when}').timetable == timetable


MOMENT = "is no moment; write it as in 2027-03-01T09:00:00+01:00, or 2027-03-01T08:00:00Z in UTC"
NO_OFFSET = "has no offset from UTC; write {0}Z for UTC, or an offset as in {0}+01:00"


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("", "cron: missing; give one of cron, at and every, for example cron = '30 2 * * mon-fri'"),
        (
            'cron = "60 2 * * *"',
            "cron: the minute field '60' is wrong: 60 is out of range; it takes 0 to 59; for exampl",
        ),
        ("cron = 5", "cron: expected a string, found the integer 5"),
        ('cron = "0 0 * * *"\nat = 2027-01-01T00:00:00Z', "at: not together with cron; give one of cron, at and every"),
        ('cron = "0 0 * * *"\ntimezone = "Stockholm"', "timezone: 'Stockholm' is no time zone; did you mean Europe/S"),
        ('every = "1h"\ntimezone = "UTC"', "timezone: goes with cron only"),
        ('cron = "0 0 * * *"\nanchor = 2027-01-01T00:00:00Z', "anchor: goes with every only"),
        ('every = "1 hour"', "every: '1 hour' is no duration; write '30s'"),
        ("every = 0.5", "every: 0.5 s is no interval; at least 1 s"),
        ("every = nan", "every: expected a number from 0 to 3153600000, found the number nan"),
        ("at = 2027-03-01T09:00:00", "at: 2027-03-01T09:00:00 " + NO_OFFSET.format("2027-03-01T09:00:00")),
        ("at = 2027-03-01", "at: 2027-03-01 " + NO_OFFSET.format("2027-03-01T00:00:00")),
        ('at = "2027-03-01T09:00"', "at: 2027-03-01T09:00 " + NO_OFFSET.format("2027-03-01T09:00:00")),
        ("at = 09:00:00", f"at: '09:00:00' {MOMENT}"),
        ('at = "tomorrow"', f"at: 'tomorrow' {MOMENT}"),
        ("at = [1]", f"at: '[1]' {MOMENT}"),
        ('every = "1h"\nend_at = 5.5', f"end_at: '5.5' {MOMENT}"),
        (
            'every = "1h"\nstart_at = 2027-01-02T00:00:00Z\nend_at = 2027-01-01T00:00:00Z',
            "end_at: not later than start_at; leave it out for no end",
        ),
        ('every = "1h"\nmax_runs = -1', "max_runs: expected an integer from 0 to 1000000000000, found the integer -1"),
        ('every = "1h"\njitter = "25h"', "jitter: must be from 0 to 86400, not 90000"),
        (f'every = "1h"\nname = "{"x" * 201}"', "name: has more than the 200 characters that are allowed"),
        (f'every = "1h"\ndescription = "{"x" * 1001}"', "description: has more than the 1000 characters that are allo"),
        (f'every = "1h"\ninput = "{"x" * (256 << 10)}"', "input: has 262,146 bytes, at most 262,144 are allowed"),
        (
            'every = "1h"\ninput = { day = 2027-01-01 }',
            "input: $.day is of type date, which is not JSON; put dates, times, inf and nan in quotes",
        ),
        ('every = "1h"\nconfig = [nan]', "config: $[0] is nan, which JSON has no number for; put dates"),
        ('every = "1h"\nmetadata = "x"', 'metadata: must be a JSON object, such as {"team": "data"}'),
        ('every = "1h"\npriority = 1001', "priority: expected an integer from -1000 to 1000, found the integer 1001"),
        (
            f'every = "1h"\npriority = {10**400}',
            "priority: expected an integer from -1000 to 1000, found the integer 10",
        ),
        ('every = "1h"\ntimeout_seconds = "soon"', "timeout_seconds: 'soon' is no duration"),
        ('every = "1h"\nbackoff_limit = -1', "backoff_limit: expected an integer from 0 to 1000, found the integer -1"),
        (
            'every = "1h"\nconcurrency_policy = "forbidden"',
            "concurrency_policy: expected one of 'Allow', 'Forbid', 'Replace', 'Queue', found the string 'forbidden'",
        ),
        ('every = "1h"\ncatch_up = true', "catch_up: expected one of 'none', 'latest', 'all', found the boolean true"),
        ('every = "1h"\ncatch_up_window = "400d"', "catch_up_window: must be from 0 to 31622400, not 34560000"),
        ('every = "1h"\nmax_staleness_seconds = -1', "max_staleness_seconds: expected a number from 0 to 3153600000"),
        ('every = "1h"\nmax_staleness = "1h"', "max_staleness: unknown key; did you mean max_staleness_seconds?"),
        ('every = "1h"\npaused = true', "paused: unknown key; known keys: anchor, at, backoff_limit, catch_up, "),
    ],
)
def test_what_is_wrong_is_said_at_its_key(tmp_path: Path, table: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f'target = "task:sync"\n{table}')
    assert found.startswith(f'schedules."s".{problem}')


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("", "target: missing; write task:<id> or workflow:<id>"),
        ("target = 5", "target: expected a string, found the integer 5"),
        ('target = ""', "target: '' is not a target; write task:<id> or workflow:<id>, such as task:sync-data"),
        ('target = "sync"', "target: 'sync' is not a target; write task:<id> or workflow:<id>"),
        ('target = "task:sinc"', "target: the project has no task:sinc; did you mean task:sync?"),
        (
            'target = "workflow:other"',
            "target: the project has no workflow:other; known targets: task:strict, task:sync",
        ),
        ('target = "task:strict"', 'input: at $: null is not of type "object"'),
        ('target = "task:strict"\ninput = {n = "x"}', 'input: at $.n: "x" is not of type "integer"'),
        ('target = "task:strict"\ninput = {}\nconfig = {a = 1}', "config: at $: False schema does not allow 1"),
    ],
)
def test_its_target_has_to_take_it(tmp_path: Path, target: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, f'every = "1h"\n{target}')
    assert found.startswith(f'schedules."s".{problem}')


def test_everything_is_said_at_once(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path,
        """
        target = "task:strict"
        cron = 5
        timezone = "nowhere"
        start_at = 2027-01-02T00:00:00
        input = { n = "x" }
        config = { day = 2027-01-01 }
        metadata = []
        jitter = "2d"
        catch_up = "some"
        colour = "red"
        """,
    )
    assert sorted(problem.partition(": ")[0].removeprefix('schedules."s".') for problem in found) == [
        "catch_up", "colour", "config", "cron", "input", "jitter", "metadata", "start_at", "timezone",
    ]  # fmt: skip


def test_a_broken_schedule_takes_nothing_else_down(tmp_path: Path) -> None:
    loaded = project(tmp_path, '[schedules]\na = 5\n"b c".every = 1\n[schedules.d]\ntarget = "task:sync"\nevery = 5')
    assert list(loaded.schedules) == ["a", "b c", "d"]
    assert [str(problem).partition("runs.toml: ")[2] for problem in loaded.all_problems()] == [
        'schedules."a": expected a table with target, and with cron, at or every',
        "schedules.\"b c\": 'b c' is no id; ids are letters, digits, _, . and -, nested with /",
        'schedules."b c".target: missing; write task:<id> or workflow:<id>',
    ]
    assert loaded.schedules["d"].spec is not None


def test_schedules_are_tables(tmp_path: Path) -> None:
    (tmp_path / "runs.toml").write_text('schedules = 5\n[project]\nid = "p"\n')
    with pytest.raises(ProjectUnreadable, match="schedules: expected a table, found the integer 5"):
        load_project(tmp_path)


def test_a_target_may_be_in_a_module_that_cannot_be_read(tmp_path: Path) -> None:
    table = '[schedules.s]\ntarget = "task:in-there"\nevery = 60\ninput = 5'
    loaded = project(tmp_path, table, broken="1 / 0")
    assert loaded.schedules["s"].problems == ()
    assert loaded.schedules["s"].spec is not None
    assert project(tmp_path, table, broken="").schedules["s"].spec is None


def test_decorators(tmp_path: Path) -> None:
    loaded = decorated(
        tmp_path,
        """
        @schedule(cron="30 2 * * *", timezone="Europe/Stockholm", input={"a": (1, None)})
        @task
        def sync_data(ctx): ...

        @task("below")
        @schedule("by-the-hour", every=timedelta(hours=1), anchor=datetime(2027, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")),
                  jitter=timedelta(minutes=1), timeout_seconds=timedelta(seconds=30), catch_up_window="2h")
        @schedule("by-object", cron="0 9 * * *", timezone=ZoneInfo("Asia/Tokyo"))
        @schedule("once", at="2027-03-01T09:00:00Z", name="Once", concurrency_policy="forbid", priority=2)
        def below(ctx): ...

        @schedule("second", target="workflow:two", every=60)
        @task("one")
        @workflow("two")
        async def both(ctx, input): ...

        @schedule(target="task:one", every=60, input={"day": "2027-01-01"})
        def elsewhere(): ...
        """,
    )
    assert loaded.all_problems() == ()
    specs: dict[str, Any] = {id: schedule.spec for id, schedule in loaded.schedules.items()}
    assert {id: spec.target for id, spec in specs.items()} == {
        "by-object": "task:below",
        "by-the-hour": "task:below",
        "once": "task:below",
        "one": "task:one",
        "second": "workflow:two",
        "sync-data": "task:sync-data",
    }
    assert specs["sync-data"].timetable == Timetable(Cron("30 2 * * *", "Europe/Stockholm"))
    assert specs["sync-data"].input_json == '{"a":[1,null]}'
    assert specs["by-object"].timetable == Timetable(Cron("0 9 * * *", "Asia/Tokyo"))
    hourly = specs["by-the-hour"]
    assert hourly.timetable == Timetable(Every(3_600_000_000, micros(2026, 12, 31, 15)))
    assert (hourly.jitter_seconds, hourly.timeout_seconds, hourly.catch_up_window_seconds) == (60, 30, 7200)
    assert (specs["once"].run_name, specs["once"].concurrency_policy) == ("Once", ConcurrencyPolicy.FORBID)
    assert loaded.schedules["once"].source == "code"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "@schedule('s', cron='0 9 * * *', timezone=timezone(timedelta(hours=1)))\n@task\ndef f(ctx): ...",
            "@schedule(\"s\").timezone: 'UTC+01:00' is no time zone; write it as in Europe/Stockholm",
        ),
        ("@schedule\n@task\ndef f(ctx): ...", '@schedule("f").cron: missing; give one of cron, at and every'),
        (
            "@schedule(every=5)\ndef some_function(ctx): ...",
            '@schedule("some-function").target: missing; code:some_function is no task or workflow; '
            "add @task or @workflow, or say target='task:<id>'",
        ),
        (
            "@task('b')\n@schedule('s', every=5)\n@task('a')\ndef f(ctx): ...",
            "@schedule(\"s\").target: missing; code:f is task:a and task:b; say which, as in target='task:a'",
        ),
        (
            "@schedule('s', at=datetime(2027, 1, 1, 9))\n@task\ndef f(ctx): ...",
            '@schedule("s").at: 2027-01-01T09:00:00 ' + NO_OFFSET.format("2027-01-01T09:00:00"),
        ),
        (
            "@schedule('s', at=date(2027, 1, 1))\n@task\ndef f(ctx): ...",
            '@schedule("s").at: 2027-01-01 ' + NO_OFFSET.format("2027-01-01T00:00:00"),
        ),
        (
            "@schedule('s', every=5, input={'day': date(2027, 1, 1)})\n@task\ndef f(ctx): ...",
            '@schedule("s").input: is not JSON: $.day is of type date, which is not JSON',
        ),
        (
            "@schedule('s', cron={1})\n@task\ndef f(ctx): ...",
            '@schedule("s").cron: is not JSON: $ is of type set, which is not JSON',
        ),
        (
            "@schedule('s', target={1}, every=5)\n@task\ndef f(ctx): ...",
            '@schedule("s").target: is not JSON: $ is of type set, which is not JSON',
        ),
        (
            "@schedule('s', target='task:g', every=5)\n@task('f')\ndef f(ctx): ...",
            '@schedule("s").target: the project has no task:g; did you mean task:f?',
        ),
        ("@schedule('', every=5)\n@task\ndef f(ctx): ...", "@schedule(\"\"): '' is no id; ids are letters"),
        ("@schedule('s', evry=5)\n@task\ndef f(ctx): ...", '@schedule("s").evry: unknown key; did you mean every?'),
    ],
)
def test_what_is_wrong_with_a_decorator(tmp_path: Path, code: str, problem: str) -> None:
    loaded = decorated(tmp_path, code)
    (schedule,) = loaded.schedules.values()
    assert schedule.spec is None
    found = [str(one) for one in schedule.problems]
    assert any(one.startswith(f"{tmp_path / 'code.py'}: {problem}") for one in found), found
    assert len(found) == 1 or "evry" in problem
    assert loaded.all_problems() == schedule.problems


def test_an_id_that_is_declared_twice_is_a_problem(tmp_path: Path) -> None:
    table = '[schedules.s]\ntarget = "task:sync"\nevery = 60'
    code = """
        from runsd import schedule, task
        @schedule("s", every=5)
        @schedule(every=6)
        @schedule(every=7)
        @task("f")
        def f(ctx): ...
    """
    loaded = project(tmp_path, table, code=code)
    assert [(id, one.source, one.spec) for id, one in loaded.schedules.items()] == [
        ("f", "code", None),
        ("s", "runs.toml", None),
    ]
    assert [(problem.key, problem.message) for problem in loaded.all_problems()] == [
        ('@schedule("f")', "code:f declares the id a second time, after code; give one of them another"),
        ('@schedule("s")', "code:f declares the id a second time, after runs.toml; give one of them another"),
    ]
