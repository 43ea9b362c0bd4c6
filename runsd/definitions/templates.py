"""Templates: JSON values whose strings may hold `${expression}`.

A string that is nothing but one expression gives the expression's value; inside a text the value is
written out, texts as they are and everything else as JSON. `$${` stands for `${`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from runsd.definitions.expression_text import tokens
from runsd.definitions.expressions import Expression, ExpressionFailed, ExpressionInvalid, parse
from runsd.definitions.json_values import NotJson, native
from runsd.model.tables import join

_OPENING = re.compile(r"\$\$\{|\$\{")

Evaluate = Callable[[Expression], Any]


def expressions(template: Any, key: str) -> Iterator[tuple[str, Expression | ExpressionInvalid | NotJson]]:
    """Every expression with the key that it stands at, and what is wrong with the others."""
    if isinstance(template, Mapping):
        for name, value in template.items():
            yield from expressions(value, join(key, name))
    elif isinstance(template, (list, tuple)):
        for index, value in enumerate(template):
            yield from expressions(value, f"{key}[{index}]")
    elif isinstance(template, str):
        try:
            yield from ((key, part) for part in parts(template) if isinstance(part, Expression))
        except ExpressionInvalid as error:
            yield key, error
    else:
        try:
            native(template)
        except NotJson as error:
            yield key, error


def render(template: Any, evaluate: Evaluate, key: str) -> Any:
    """Raises ExpressionFailed, naming the key and the expression."""
    if isinstance(template, Mapping):
        return {name: render(value, evaluate, join(key, name)) for name, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [render(value, evaluate, f"{key}[{index}]") for index, value in enumerate(template)]
    return _text(parts(template), evaluate, key) if isinstance(template, str) else template


def _text(pieces: Sequence[str | Expression], evaluate: Evaluate, key: str) -> Any:
    values = [piece if isinstance(piece, str) else _value(piece, evaluate, key) for piece in pieces]
    if len(pieces) == 1 and isinstance(pieces[0], Expression):
        return values[0]
    return "".join(map(as_text, values))


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _value(expression: Expression, evaluate: Evaluate, key: str) -> Any:
    try:
        return evaluate(expression)
    except ExpressionFailed as error:
        raise ExpressionFailed(f"{key}: ${{{expression.source}}}: {error}") from None


@lru_cache(maxsize=4096)
def parts(text: str) -> tuple[str | Expression, ...]:
    """Texts and expressions in turn. Raises ExpressionInvalid."""
    found: list[str | Expression] = []
    literal, position = "", 0
    while opening := _OPENING.search(text, position):
        literal += text[position : opening.start()]
        if opening[0] == "$${":
            literal, position = literal + "${", opening.end()
            continue
        end = _closing(text, opening.end())
        if literal:
            found.append(literal)
        found.append(_parsed(text[opening.end() : end]))
        literal, position = "", end + 1
    literal += text[position:]
    return tuple([*found, literal] if literal or not found else found)


def bare(text: str) -> str:
    """An expression where a key takes nothing else, also when it is written as `${expression}`."""
    stripped = text.strip()
    if stripped.startswith("${") and _closing(stripped, 2) == len(stripped) - 1:
        return stripped[2:-1]
    return text


def _parsed(source: str) -> Expression:
    try:
        return parse(source)
    except ExpressionInvalid as error:
        raise ExpressionInvalid(f"${{{source}}}: {error}") from None


def _closing(text: str, start: int) -> int:
    """Where the brace is that ends an expression; braces in it and in its texts do not. Raises ExpressionInvalid."""
    depth = 0
    for token in tokens(text, start):
        if token[0] == "{":
            depth += 1
        elif token[0] == "}" and depth == 0:
            return token.start()
        elif token[0] == "}":
            depth -= 1
    raise ExpressionInvalid("a ${ has no } that ends it; write $${ for the text ${")
