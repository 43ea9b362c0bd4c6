"""Expressions end soon, whatever they are given, and say in plain words what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from runsd.definitions.expressions import ExpressionFailed, ExpressionInvalid, parse
from runsd.definitions.templates import render


def of(count: int) -> dict[str, Any]:
    rows = [{"id": n, "name": "x" * 20, "tags": ["a", "b"]} for n in range(count)]
    return {"input": {"items": list(range(count)), "rows": rows, "min": 3, "text": "a," * count}}


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("input.items.map(a, input.items.map(b, a + b))", 300),
        ("input.items.filter(a, input.items.exists(b, a == b))", 300),
        ("input.items.map(a, input.items)", 1000),
        ("input.items.map(a, input)", 200),
        ("input.items.map(a, a + 1)", 10_000),
        ("input.rows.filter(a, a.id > 5)", 10_000),
        ("lists.range(1000).map(a, lists.range(1000).map(b, a))", 1),
        ("input.text.split(',').map(a, a)", 100_000),
        ("[input.items, input.items].flatten().map(a, [input.items].flatten().map(b, b))", 200),
    ],
)
def test_too_much_work_is_refused_before_it_begins(source: str, count: int) -> None:
    with pytest.raises(ExpressionFailed, match=r"^is too much work: .*; compute it in a task$"):
        parse(source).evaluate(of(count))


def test_too_much_work_names_the_expression() -> None:
    source = "input.items.map(a, input.items.map(b, a + b))"
    variables = of(300)
    with pytest.raises(ExpressionFailed) as raised:
        render({"x": f"${{{source}}}"}, lambda expression: expression.evaluate(variables), "input")
    assert str(raised.value).startswith(f"input.x: ${{{source}}}: is too much work: 2 map, filter or the like, one in")
    assert "lists of up to 300 elements" in str(raised.value)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.items.map(a, input.items.map(b, a + b))[2][3]", 5),
        ("input.rows.filter(a, a.id >= input.min).map(a, a.name).size()", 97),
        ("input.rows.map(a, input.rows[0].id)[1]", 0),
        ("lists.range(100).map(a, a)[7]", 7),
        ("'a,b'.split(',').map(a, a + a)", ["aa", "bb"]),
        ("input.items.map(a, a).map(a, a).map(a, a)[99]", 99),
    ],
)
def test_what_is_little_work_is_done(source: str, value: Any) -> None:
    assert parse(source).evaluate(of(100)) == value


def test_large_documents_may_be_used_without_macros() -> None:
    assert parse("size(input.rows) + size(input.items)").evaluate(of(20_000)) == 40_000


def test_macros_are_nested_twice_at_most() -> None:
    parse("[1].map(a, [1].map(b, a + b)).map(a, [a].map(b, b))")
    parse("'.map(' + string([1].map(a, [1].map(b, '[1].map('))) // .map(a, .map(b, .map(")
    for source in (
        "[1].map(a, [1].map(b, [1].map(c, c)))",
        "[1].all(a, [[1].filter(b, ([1].exists(c, c == 1)))] == [])",
    ):
        with pytest.raises(ExpressionInvalid, match="more than 2 deep in one another; compute it in a task"):
            parse(source)


def test_ranges_are_short() -> None:
    with pytest.raises(ExpressionFailed, match=r"^lists.range: lists.range makes at most 1,000 numbers, not 10,001$"):
        parse("lists.range(10001).size()").evaluate({})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 +", "line 1, column 4: it is incomplete"),
        ("((((", "line 1, column 5: it is incomplete"),
        ("1 ? 2", "line 1, column 1: it is incomplete"),
        ("a b", "line 1, column 3: unexpected 'b'"),
        ("1 +\n 'abc", "line 2, column 2: unexpected ''abc'"),
        ("{1 2}", "line 1, column 4: ':' is missing before '2'"),
        ("@", "line 1, column 1: unexpected '@'"),
        ("for + 1", "line 1, column 1: reserved identifier: for"),
        ("has(1)", "line 1, column 5: invalid argument to has() macro"),
    ],
)
def test_syntax_errors_are_one_plain_sentence(source: str, message: str) -> None:
    with pytest.raises(ExpressionInvalid) as raised:
        parse(source)
    assert str(raised.value) == f"is no expression: {message}"
