"""An upper bound of what the macros of an expression copy, computed from the documents before it is evaluated.

The library copies a list for each element that it adds to it, and nothing else of the daemon goes on meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runsd.definitions.expression_text import MACROS, nesting, tokens, with_depth

# They make longer lists than those there are.
_LENGTHENING = frozenset({"flatten", "split"})
_TEXT_PER_VALUE = 100
# Values copied: about a second's worth.
_MAX_WORK = 10_000_000
MAX_RANGE = 1000


def too_much_work(source: str, variables: Mapping[str, Any]) -> str:
    """Why it must not be evaluated with these documents; empty when it may."""
    depths = nesting(source)
    if not depths:
        return ""
    found = list(tokens(source))
    inside = {index for index, depth in with_depth(found) if index is not None and depth}
    size, longest, added = 1, sum(token[0] == "," for token in found) + 1, 0
    for index, value, is_walked in _named(found, variables):
        its_size, its_longest = _size_of(value)
        size, longest = size + its_size, max(longest, its_longest)
        # Each element may get a copy of what is named inside a macro.
        added += its_size if index in inside and not is_walked else 0
    names = {token[0] for token in found if token.lastgroup == "name"}
    if "range" in names:
        longest = max(longest, MAX_RANGE)
    if names & _LENGTHENING:
        longest = max(longest, size * _TEXT_PER_VALUE if "split" in names else size)
    chained = -(-len(depths) // max(depths))
    work = chained * longest ** max(depths) * (max(size, longest) + longest * added)
    if work <= _MAX_WORK:
        return ""
    deep = ", one in another" if max(depths) > 1 else ""
    return (
        f"is too much work: {len(depths)} map, filter or the like{deep}, lists of up to {longest:,} elements "
        f"and documents of {size:,} values; compute it in a task"
    )


def _named(found: Sequence[re.Match[str]], variables: Mapping[str, Any]) -> Iterator[tuple[int, Any, bool]]:
    """Each document that is named, with where, and whether a macro walks through it."""
    texts = [token[0] for token in found]
    for index, token in enumerate(found):
        if token.lastgroup != "name" or texts[index - 1 : index] == ["."] or token[0] not in variables:
            continue
        value, end = variables[token[0]], index + 1
        while texts[end : end + 1] == ["."] and isinstance(value, Mapping) and texts[end + 1] in value:
            value, end = value[texts[end + 1]], end + 2
        is_walked = texts[end : end + 1] == ["."] and texts[end + 1] in MACROS
        yield index, value, is_walked


def _size_of(document: Any) -> tuple[int, int]:
    """How many values there are in it, and in the longest list or object; texts by their length too."""
    size, longest = 0, 0
    waiting = [document]
    while waiting:
        value = waiting.pop()
        size += 1
        if isinstance(value, str):
            size += len(value) // _TEXT_PER_VALUE
        elif isinstance(value, Mapping):
            longest = max(longest, len(value))
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            longest = max(longest, len(value))
            waiting.extend(value)
    return size, longest
