import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runsd.definitions.expressions import Expression, ExpressionFailed, ExpressionInvalid, parse
from runsd.definitions.templates import bare, expressions, parts, render

ROOT = Path(__file__).parents[3]
VARIABLES: dict[str, Any] = {
    "input": {"topic": "cats", "n": 3, "f": 1.5, "rows": [{"id": 1}, {"id": 2}], "of": {"a b": None}, "big": 2**70},
    "config": None,
    "steps": {"draft": {"output": ["x", "y"]}, "editor-review": {"output": {"approved": True}}},
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.topic", "cats"),
        (" input.rows[1].id ", 2),
        ('input["topic"]', "cats"),
        ("input['of'][\"a b\"]", None),
        ("input.big", 2**70),
        ("config", None),
        ("steps.draft.output[0]", "x"),
        ('steps["editor-review"].output.approved', True),
        ('steps["editor-review"].output.approved && input.n > 2', True),
        ("input.rows.map(r, r.id * 2)", [2, 4]),
        ("steps.draft.output.join(', ') + '!'", "x, y!"),
        ("has(input.nothing) ? 1 : 2", 2),
        ("{'a': [input.n, null]}", {"a": [3, None]}),
        ("math.greatest(input.n, 7)", 7),
        ("type(input.n) == int", True),
        ("size(input.topic) == 4 // and no more", True),
        ("true", True),
    ],
)
def test_values(source: str, value: Any) -> None:
    assert parse(source).evaluate(VARIABLES) == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("input.topics", "input has no key 'topics'; did you mean topic?"),
        ("input.rows[0].name", "input.rows[0] has no key 'name'; known keys: id"),
        ("input.rows[2]", "input.rows has no item 2; it has 2"),
        ("config.topic", "config is null, so there is no 'topic' in it"),
        ("input.topic.x", "input.topic is a text, so there is no 'x' in it"),
        ("input.topic[0]", "input.topic is a text, so there is no 0 in it"),
        ("input.rows.id", "input.rows is a list, so there is no 'id' in it"),
        ('input["of"]["a b"].c', 'input.of["a b"] is null'),
        ("input.nothing + 1", "there is no key 'nothing'"),
        ("input.n + 1.5", "No such overload"),
        ("input.n / 0", "division by zero"),
        ("input.rows[7].id + 1", "index out of bounds: 7"),
        ("timestamp('2020-01-01T00:00:00Z')", "gives a datetime, which is not JSON; string(…) makes a text of it"),
        ("{1: 2}", "gives an object with the key 1, which is no text"),
        ("1.0 / 0.0", "gives the number inf, which is not JSON"),
    ],
)
def test_what_has_no_value_says_why(source: str, message: str) -> None:
    with pytest.raises(ExpressionFailed) as raised:
        parse(source).evaluate(VARIABLES)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "is empty"),
        ("input.", "is no expression: line 1, column 7: "),
        ("input.topic nonsense", "is no expression: line 1, column 13: "),
        ("1 +\n +", "is no expression: line 2, column 2: "),
        ("(" * 3000, "is no expression: "),
        ("'" + "x" * 10_000, "has 10,001 characters, at most 10,000 are allowed"),
        ("lenght(input)", "there is no function 'lenght'"),
        ("input.topic.upperascii()", "there is no function 'upperascii'; did you mean upperAscii?"),
        ("steps", "names no step; write steps.<id>.output"),
        ("steps[input.n].output", "names no step; write steps.<id>.output"),
        ("steps.draft", "of step 'draft' there is only its output: steps.draft.output"),
        ("steps.draft.outputs", "of step 'draft' there is only its output"),
        ("steps.editor-review.output", "of step 'editor' there is only its output"),
        ("__import__('os')", "there is no function '__import__'"),
    ],
)
def test_what_is_no_expression_says_why(source: str, message: str) -> None:
    with pytest.raises(ExpressionInvalid) as raised:
        parse(source)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("source", "variables", "steps"),
    [
        ("input.a + item.b", {"input", "item"}, set()),
        ("input.rows.map(r, r.id + index)", {"input", "index"}, set()),
        ("'steps.a.output' + r'\\' + input.steps.b", {"input"}, set()),
        ("steps.a.output + steps['b-c'].output + [1].map(x, steps.d.output)[0]", {"steps"}, {"a", "b-c", "d"}),
        ("lists.range(3) + math.abs(n)", {"n"}, set()),
        (".hidden", {".hidden"}, set()),
    ],
)
def test_what_an_expression_uses_is_known_before(source: str, variables: set[str], steps: set[str]) -> None:
    expression = parse(source)
    assert (set(expression.variables), set(expression.steps)) == (variables, steps)


def test_python_cannot_be_reached() -> None:
    for source in ("input.__class__", "input.topic.__class__", "input.topic.__len__ + ''"):
        with pytest.raises(ExpressionFailed):
            parse(source).evaluate(VARIABLES)


def test_the_library_is_loaded_only_for_what_is_more_than_a_path() -> None:
    program = (
        "import sys\nfrom runsd.definitions.expressions import parse\n"
        "parse('steps.a.output').evaluate({'steps': {'a': {'output': 1}}})\nprint('cel' in sys.modules)\n"
        "parse('1 + 1')\nprint('cel' in sys.modules)"
    )
    path = f"{ROOT}:{ROOT / 'clients/python'}"
    printed = subprocess.check_output([sys.executable, "-c", program], env={"PYTHONPATH": path}, text=True)
    assert printed.split() == ["False", "True"]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_values_come_through_unchanged(value: Any) -> None:
    for source in ("v.k", "true ? v.k : null"):
        found = parse(source).evaluate({"v": {"k": value}})
        assert json.dumps(found, sort_keys=True) == json.dumps(value, sort_keys=True)


def rendered(template: Any) -> Any:
    return render(template, lambda expression: expression.evaluate(VARIABLES), "input")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${input.rows}", [{"id": 1}, {"id": 2}]),
        ("${input.n}", 3),
        ("two ${ input.topic } and ${input.n}", "two cats and 3"),
        ("${config}, ${input.f}, ${input.rows}", 'null, 1.5, [{"id": 1}, {"id": 2}]'),
        ("$${input.n} costs $5 and ${input.n}$", "${input.n} costs $5 and 3$"),
        ("${{'a': {'b': '}'}}}", {"a": {"b": "}"}}),
        ("${'${' + input.topic}", "${cats"),
        ({"a": ["${input.n}", 1, True, None, {"b": "${input.topic}"}]}, {"a": [3, 1, True, None, {"b": "cats"}]}),
        ("é ${input.topic} €", "é cats €"),
    ],
)
def test_templates(template: Any, value: Any) -> None:
    assert rendered(template) == value


def test_a_template_that_fails_names_its_key_and_expression() -> None:
    with pytest.raises(ExpressionFailed, match=r"^input\.a\[1\]\.\"b c\": \$\{input\.x\}: input has no key 'x'"):
        rendered({"a": [1, {"b c": "so: ${input.x}"}]})


def test_what_is_wrong_in_a_template_is_found_with_its_key() -> None:
    template = {"a": ["${", "${1 +}"], "b": "${input.n}", "c": float("nan")}
    found = [(key, str(item) if isinstance(item, Exception) else item) for key, item in expressions(template, "input")]
    assert found[0] == ("input.a[0]", "a ${ has no } that ends it; write $${ for the text ${")
    assert found[1][0] == "input.a[1]" and str(found[1][1]).startswith("${1 +}: is no expression: line 1, column 4")
    assert found[2] == ("input.b", parse("input.n"))
    assert found[3] == ("input.c", "the number nan, which is not JSON")


@pytest.mark.parametrize(
    ("text", "expression"),
    [("a", "a"), ("${a}", "a"), (" ${ {'a': 1}.a } ", " {'a': 1}.a "), ("${a} + ${b}", "${a} + ${b}")],
)
def test_an_expression_may_be_written_as_a_template(text: str, expression: str) -> None:
    assert bare(text) == expression


@given(st.text("ab$${}'\"\\ ", max_size=20))
def test_any_text_is_parts_or_says_why_not(text: str) -> None:
    try:
        found = parts(text)
    except ExpressionInvalid as error:
        assert "${" in text and str(error)
        return
    assert all(isinstance(part, (str, Expression)) for part in found)
    if "${" not in text:
        assert found == (text,)
