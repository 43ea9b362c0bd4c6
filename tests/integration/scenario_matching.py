"""Expectations of the scenarios in tests/scenarios, held against values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any


def mismatch(expected: Any, actual: Any, where: str = "it") -> str:
    """Says what differs; empty when `actual` fits."""
    if isinstance(expected, dict) and any(name.startswith("$") for name in expected):
        return _first(_MATCHERS[name](argument, actual, where) for name, argument in expected.items())
    if isinstance(expected, dict):
        return _object_mismatch(expected, actual, where)
    if isinstance(expected, list):
        return _list_mismatch(expected, actual, where)
    return "" if _same(expected, actual) else f"{where} is {actual!r}, expected {expected!r}"


def _object_mismatch(expected: Mapping[str, Any], actual: Any, where: str) -> str:
    if not isinstance(actual, dict):
        return f"{where} is {actual!r}, expected an object"
    if missing := expected.keys() - actual.keys():
        return f"{where} has no {min(missing)!r}: {actual!r}"
    return _first(mismatch(value, actual[name], f"{where}.{name}") for name, value in expected.items())


def _list_mismatch(expected: list[Any], actual: Any, where: str) -> str:
    if length := _length(len(expected), actual, where):
        return length
    return _first(mismatch(*pair, f"{where}[{index}]") for index, pair in enumerate(zip(expected, actual, strict=True)))


def _same(expected: Any, actual: Any) -> bool:
    """As JSON has it: true is not 1."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(_same(value, actual[name]) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_same, expected, actual))
    return isinstance(expected, bool) == isinstance(actual, bool) and bool(expected == actual)


def _exactly(expected: Any, actual: Any, where: str) -> str:
    return "" if _same(expected, actual) else f"{where} is {actual!r}, expected exactly {expected!r}"


def _contains(part: str, actual: Any, where: str) -> str:
    return "" if isinstance(actual, str) and part in actual else f"{where} is {actual!r}, without {part!r}"


def _matches(pattern: str, actual: Any, where: str) -> str:
    fits = isinstance(actual, str) and re.fullmatch(pattern, actual, re.DOTALL)
    return "" if fits else f"{where} is {actual!r}, which {pattern!r} does not fit"


def _one_of(choices: list[Any], actual: Any, where: str) -> str:
    fits = any(not mismatch(choice, actual) for choice in choices)
    return "" if fits else f"{where} is {actual!r}, expected one of {choices!r}"


def _not(expected: Any, actual: Any, where: str) -> str:
    return "" if mismatch(expected, actual) else f"{where} is {actual!r}, expected anything else"


def _length(count: int, actual: Any, where: str) -> str:
    if not isinstance(actual, list):
        return f"{where} is {actual!r}, expected a list"
    return "" if len(actual) == count else f"{where} has {len(actual)} items, expected {count}: {actual!r}"


def _each(expected: Any, actual: Any, where: str) -> str:
    if not isinstance(actual, list):
        return f"{where} is {actual!r}, expected a list"
    return _first(mismatch(expected, item, f"{where}[{index}]") for index, item in enumerate(actual))


def _last(expected: Any, actual: Any, where: str) -> str:
    if not isinstance(actual, list) or not actual:
        return f"{where} is {actual!r}, expected a list with items"
    return mismatch(expected, actual[-1], f"{where}, last")


def _exactly_one(expected: Any, actual: Any, where: str) -> str:
    if not isinstance(actual, list):
        return f"{where} is {actual!r}, expected a list"
    count = sum(not mismatch(expected, item) for item in actual)
    return "" if count == 1 else f"{where} has {count} items that fit {expected!r}, expected one: {actual!r}"


def _numbered_from(first: int, actual: Any, where: str) -> str:
    ids = [item.get("event", item)["event_id"] for item in actual]
    return "" if ids == list(range(first, first + len(ids))) else f"{where} has the ids {ids}, expected {first}, …"


def _first(mismatches: Any) -> str:
    return next(filter(None, mismatches), "")


_MATCHERS: Mapping[str, Callable[[Any, Any, str], str]] = {
    "$exactly": _exactly,
    "$contains": _contains,
    "$matches": _matches,
    "$one_of": _one_of,
    "$not": _not,
    "$length": _length,
    "$each": _each,
    "$last": _last,
    "$exactly_one": _exactly_one,
    "$numbered_from": _numbered_from,
}
