"""The text of an expression, cut into tokens, and how its macros lie in one another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

_QUOTED = r"\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
_RAW = r"\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n]*\"|'[^'\n]*'"
TOKEN = re.compile(
    rf"(?P<string>[bB]?[rR][bB]?(?:{_RAW})|[bB]?(?:{_QUOTED}))"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<number>\d[\w.]*)|(?P<blank>\s+|//[^\n]*)|(?P<sign>.)",
    re.ASCII | re.DOTALL,
)
MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


def tokens(text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """Without blanks and comments."""
    return (token for token in TOKEN.finditer(text, start) if token.lastgroup != "blank")


@lru_cache(maxsize=4096)
def nesting(source: str) -> tuple[int, ...]:
    """For each macro, how many there are around it, with itself."""
    return tuple(depth for token, depth in with_depth(list(tokens(source))) if token is None)


def with_depth(found: Sequence[re.Match[str]]) -> Iterator[tuple[int | None, int]]:
    """The index of each token with the number of macros that it is inside of; None stands for a macro."""
    brackets: list[bool] = []
    for index, token in enumerate(found):
        if token[0] in _OPENING:
            is_macro = token[0] == "(" and index > 1 and found[index - 1][0] in MACROS and found[index - 2][0] == "."
            brackets.append(is_macro)
            if is_macro:
                yield None, sum(brackets)
        elif token[0] in _CLOSING and brackets:
            brackets.pop()
        yield index, sum(brackets)
