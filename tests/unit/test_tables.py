from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.model.tables import Range, decode, join, leaves, nearest
from runsd.model.targets import Target


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    size: Annotated[int, Range(1, 9)] = 5


@dataclass(frozen=True, slots=True)
class Table:
    id: str
    count: int = 0
    ratio: float = 0.0
    on: bool = False
    names: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    where: Path = Path()
    colour: Colour = Colour.RED
    inner: Inner = field(default_factory=Inner)
    schema: Mapping[str, Any] | str | None = None
    target: Target | None = None


def problems(table: Mapping[str, object]) -> list[str]:
    return [f"{p.key}: {p.message}" for p in decode(Table, {"id": "x", **table}, file="f", key="t").problems]


def test_every_kind_of_value() -> None:
    table = {
        "id": "a",
        "count": 2,
        "ratio": 3,
        "on": True,
        "names": ["x"],
        "env": {"K": "v"},
        "where": "some/where",
        "colour": "blue",
        "inner": {"size": 9},
        "schema": {"type": "object"},
        "target": "task:a",
    }
    decoded = decode(Table, table, file="f")
    assert decoded.problems == ()
    assert decoded.value == Table(
        "a", 2, 3.0, True, ("x",), {"K": "v"}, Path("some/where"), Colour.BLUE, Inner(9), {"type": "object"},
        Target.parse("task:a"),
    )  # fmt: skip
    assert isinstance(decoded.value.ratio, float)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"count": "3"}, "t.count: expected an integer, found the string '3'"),
        ({"count": True}, "t.count: expected an integer, found the boolean true"),
        ({"count": 1.5}, "t.count: expected an integer, found the number 1.5"),
        ({"on": 1}, "t.on: expected true or false, found the integer 1"),
        ({"ratio": []}, "t.ratio: expected a number, found an array"),
        ({"ratio": 10**400}, "t.ratio: int too large to convert to float"),
        ({"names": "x"}, "t.names: expected an array of strings, found the string 'x'"),
        ({"names": ["x", 1]}, "t.names[1]: expected a string, found the integer 1"),
        ({"env": {"A B": 1}}, 't.env."A B": expected a string, found the integer 1'),
        ({"colour": "green"}, "t.colour: expected one of 'red', 'blue', found the string 'green'"),
        ({"inner": 1}, "t.inner: expected a table, found the integer 1"),
        ({"inner": {"size": 10}}, "t.inner.size: expected an integer from 1 to 9, found the integer 10"),
        ({"inner": {"sise": 1}}, "t.inner.sise: unknown key; did you mean size?"),
        ({"schema": 1}, "t.schema: expected a table or a string, found the integer 1"),
        ({"where": ""}, "t.where: a path cannot be empty or hold a NUL character"),
        ({"target": "sync"}, f"t.target: {'sync'!r} is not a target; write task:<id>"),
        ({"cuont": 1}, "t.cuont: unknown key; did you mean count?"),
    ],
)
def test_a_problem_names_key_expected_and_found(table: dict[str, object], message: str) -> None:
    (problem,) = problems(table)
    assert problem.startswith(message)


def test_all_problems_are_reported_and_the_rest_is_kept() -> None:
    decoded = decode(Table, {"id": "a", "count": "x", "on": "y", "names": ["kept"]}, file="f")
    assert [p.key for p in decoded.problems] == ["count", "on"]
    assert decoded.value == Table("a", names=("kept",))


def test_a_missing_field_leaves_no_value() -> None:
    decoded = decode(Table, {}, file="f")
    assert decoded.value is None
    assert [str(p) for p in decoded.problems] == ["f: id: missing; expected a string"]


def test_nan_is_outside_every_range() -> None:
    @dataclass(frozen=True)
    class Ratio:
        value: Annotated[float, Range(0, 1)] = 0.0

    Ratio.__annotations__["value"] = Annotated[float, Range(0, 1)]
    assert decode(Ratio, {"value": float("nan")}, file="f").problems


def test_leaves_are_all_settings_by_dotted_key() -> None:
    assert {"id", "inner.size", "target", "schema"} <= leaves(Table).keys()
    assert "inner" not in leaves(Table)


def test_nearest_lists_what_there_is_when_nothing_is_near() -> None:
    assert nearest("zzz", ["b", "a"]) == "known keys: a, b"
    assert nearest("zzz", [], "targets") == "there are no targets"


def test_keys_are_quoted_where_toml_asks_for_it() -> None:
    assert join("tasks", "sync-data") == "tasks.sync-data"
    assert join("tasks", 'a/b"') == 'tasks."a/b\\""'


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
raw_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from([*Table.__dataclass_fields__, "other"]), raw_values))
def test_any_table_gives_a_value_of_the_annotated_types_or_problems(table: dict[str, object]) -> None:
    decoded = decode(Table, table, file="f")
    assert decoded.problems or set(table) <= set(Table.__dataclass_fields__)
    value = decoded.value
    if value is None:
        assert any(p.key == "id" for p in decoded.problems)
        return
    assert type(value.count) is int
    assert type(value.ratio) is float
    assert type(value.on) is bool
    assert all(type(name) is str for name in value.names)
    assert isinstance(value.where, Path)
    assert isinstance(value.colour, Colour)
    assert 1 <= value.inner.size <= 9
