"""Expressions of workflows in `runs.toml`: CEL, the Common Expression Language.

CEL sees the variables that it is given and nothing else: no Python, no files, no time. A plain path such
as `steps.draft.output[0].text` is followed here: nothing is copied, and an error says what is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from runsd.definitions.expression_cost import MAX_RANGE, too_much_work
from runsd.definitions.expression_text import MACROS, nesting, tokens
from runsd.definitions.json_values import NotJson, kind_of, native
from runsd.model.tables import nearest

if TYPE_CHECKING:
    from cel import Program

STEPS = "steps"
_PART = re.compile(
    r"\.(?P<name>[A-Za-z_]\w*)|\[(?:(?P<index>\d{1,9})|\"(?P<key>[^\"\\]*)\"|'(?P<key2>[^'\\]*)')\]", re.ASCII
)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LITERALS = frozenset({"true", "false", "null", "in"})
_CORE = frozenset(
    {
        *("size", "contains", "startsWith", "endsWith", "matches", "type", "dyn", "max", "min"),
        *("int", "uint", "double", "string", "bytes", "bool", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
_TYPES = frozenset({"int", "uint", "double", "string", "bytes", "bool", "list", "map"})
_MAX_LENGTH = 10_000
_MAX_NESTING = 2
_MAX_MESSAGE = 300
_SYNTAX_ERRORS = (
    (
        re.compile(r"Syntax error: (?:mismatched|extraneous) input '<EOF>'.*|Incomplete .*", re.DOTALL),
        "it is incomplete",
    ),
    (re.compile(r"Syntax error: missing ('.*') at '<EOF>'.*", re.DOTALL), r"\1 is missing at the end"),
    (re.compile(r"Syntax error: missing ('.*') at ('.*')", re.DOTALL), r"\1 is missing before \2"),
    (re.compile(r"Syntax error: (?:mismatched|extraneous) input ('.*') expecting .*", re.DOTALL), r"unexpected \1"),
    (re.compile(r"Syntax error: no viable alternative at input ('.*')", re.DOTALL), r"unexpected \1"),
    (re.compile(r"Syntax error: token recognition error at: ('.*')", re.DOTALL), r"unexpected \1"),
)
_CALL_FAILED = re.compile(r"Function '([^']*)' error: Python function call failed: \w+: ")
# What the library raises for an expression that does not work out.
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


class ExpressionInvalid(ValueError):
    """It can never be evaluated; the message says why."""


class ExpressionFailed(ValueError):
    """It has no value here; the message says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """`path` is None where the text is more than a path; `steps` are those whose output it uses."""

    source: str
    variables: frozenset[str]
    steps: frozenset[str]
    path: tuple[str | int, ...] | None = None

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """A JSON value. Raises ExpressionFailed."""
        if self.path is not None:
            return _follow(self.path, variables)
        return _execute(self, variables)


@lru_cache(maxsize=4096)
def parse(source: str) -> Expression:
    """Raises ExpressionInvalid."""
    if not source.strip():
        raise ExpressionInvalid("is empty")
    if len(source) > _MAX_LENGTH:
        raise ExpressionInvalid(f"has {len(source):,} characters, at most {_MAX_LENGTH:,} are allowed")
    path = _path(source.strip())
    if path is not None:
        return Expression(source, frozenset({str(path[0])}), _used_steps(source), path)
    program = _compiled(source)
    _check_functions(program)
    if max(nesting(source), default=0) > _MAX_NESTING:
        raise ExpressionInvalid(
            f"has map, filter or the like more than {_MAX_NESTING} deep in one another; compute it in a task"
        )
    variables = frozenset(program.variables()) - _bound(source) - _TYPES - _namespaces()
    return Expression(source, variables, _used_steps(source))


def _path(text: str) -> tuple[str | int, ...] | None:
    first = _NAME.match(text)
    if first is None or first[0] in _LITERALS or first[0] in _TYPES:
        return None
    parts: list[str | int] = [first[0]]
    position = first.end()
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            return None
        key = next(value for value in (part["name"], part["key"], part["key2"], "") if value is not None)
        parts.append(int(part["index"]) if part["index"] is not None else key)
        position = part.end()
    return tuple(parts)


@lru_cache(maxsize=4096)
def _compiled(source: str) -> Program:
    from cel import compile

    try:
        return compile(source)
    except ValueError as error:
        # "Failed to parse expression …: ERROR: <input>:1:5: Syntax error: …", a line for each error
        _, _, report = str(error).partition("ERROR: <input>:")
        line, _, rest = report.partition(":")
        column, _, message = rest.partition("\n")[0].partition(": ")
        where = f"line {line}, column {column}: " if line.isdigit() and column.isdigit() else ""
        raise ExpressionInvalid(f"is no expression: {where}{_plain(message or str(error))}") from None


def _plain(message: str) -> str:
    """Without the parser's own words."""
    for pattern, plain in _SYNTAX_ERRORS:
        if found := pattern.match(message):
            return _shortened(found.expand(plain))
    return _shortened(message.removeprefix("Syntax error: "))


def _check_functions(program: Program) -> None:
    named = (name for name in program.functions() if name.isidentifier())
    for name in named:
        if name not in _functions():
            raise ExpressionInvalid(f"there is no function {name!r}; {nearest(name, _functions(), 'functions')}")


@lru_cache(maxsize=1)
def _functions() -> frozenset[str]:
    from cel.stdlib import STDLIB_FUNCTIONS

    return _CORE | {name.rpartition(".")[2] for name in STDLIB_FUNCTIONS}


@lru_cache(maxsize=1)
def _namespaces() -> frozenset[str]:
    from cel.stdlib import STDLIB_FUNCTIONS

    return frozenset(name.partition(".")[0] for name in STDLIB_FUNCTIONS if "." in name)


def _bound(source: str) -> set[str]:
    """Variables of macros: the `x` of `rows.map(x, x.id)`."""
    parts = [token[0] for token in tokens(source)]
    windows = zip(parts, parts[1:], parts[2:], parts[3:], parts[4:], strict=False)
    return {w[3] for w in windows if w[0] == "." and w[1] in MACROS and w[2] == "(" and w[4] == ","}


def _used_steps(source: str) -> frozenset[str]:
    """Raises ExpressionInvalid where it cannot be told which."""
    found = list(tokens(source))
    used = set()
    for index, token in enumerate(found):
        is_member = index > 0 and found[index - 1][0] == "."
        if token[0] == STEPS and token.lastgroup == "name" and not is_member:
            used.add(_step_of(found[index + 1 : index + 7]))
    return frozenset(used)


def _step_of(following: Sequence[re.Match[str]]) -> str:
    """From what follows `steps`: `.<id>.output` or `["<id>"].output`."""
    texts = [token[0] for token in following]
    kinds = [token.lastgroup for token in following]
    if texts[:1] == ["."] and kinds[1:2] == ["name"]:
        step, rest = texts[1], texts[2:]
    elif texts[:1] == ["["] and kinds[1:2] == ["string"] and texts[2:3] == ["]"]:
        step, rest = texts[1][1:-1], texts[3:]
    else:
        raise ExpressionInvalid('names no step; write steps.<id>.output or steps["<id>"].output')
    if rest[:2] != [".", "output"]:
        hint = f'; of a step with - in its id it is steps["{step}-…"].output' if rest[:1] == ["-"] else ""
        raise ExpressionInvalid(f"of step {step!r} there is only its output: steps.{step}.output{hint}")
    return step


def _follow(path: tuple[str | int, ...], variables: Mapping[str, Any]) -> Any:
    shown = str(path[0])
    value = variables[shown]
    for part in path[1:]:
        if isinstance(value, Mapping) and isinstance(part, str):
            if part not in value:
                raise ExpressionFailed(f"{shown} has no key {part!r}; {nearest(part, value, 'keys')}")
            value = value[part]
        elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(part, int):
            if part >= len(value):
                raise ExpressionFailed(f"{shown} has no item {part}; it has {len(value)}")
            value = value[part]
        else:
            raise ExpressionFailed(f"{shown} is {kind_of(value)}, so there is no {part!r} in it")
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if _NAME.fullmatch(part) else f'["{part}"]'
    return value


def _execute(expression: Expression, variables: Mapping[str, Any]) -> Any:
    from cel import Context
    from cel.stdlib import add_stdlib_to_context

    context = Context()
    add_stdlib_to_context(context)
    context.add_function("lists.range", _range)
    try:
        seen = {name: _seen(expression, name, variables[name]) for name in expression.variables}
        if excess := too_much_work(expression.source, seen):
            raise ExpressionFailed(excess)
        for name, value in seen.items():
            context.add_variable(name, value)
        return native(_compiled(expression.source).execute(context))
    except ExpressionFailed:
        raise
    except NotJson as error:
        raise ExpressionFailed(f"gives {error}") from None
    except KeyError as error:
        raise ExpressionFailed(f"there is no key {error.args[0]!r}") from None
    except _FAILURES as error:
        raise ExpressionFailed(_shortened(_CALL_FAILED.sub(r"\1: ", str(error)))) from None


def _range(length: int) -> list[int]:
    if length > MAX_RANGE:
        raise ValueError(f"lists.range makes at most {MAX_RANGE:,} numbers, not {length:,}")
    return list(range(length))


def _seen(expression: Expression, name: str, value: Any) -> Any:
    """What is not used is not copied."""
    return {step: value[step] for step in expression.steps} if name == STEPS else value


def _shortened(message: str) -> str:
    text = message.partition("\n")[0].partition(". ")[0].rstrip(".")
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"
