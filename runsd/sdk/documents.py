"""Python values as JSON text that any reader takes: no NaN, and no lone surrogates, which UTF-8 cannot carry."""

from __future__ import annotations

import json

# Made once, since making an encoder costs more than most values.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_ATOMS = (str, bool, int, type(None))


class NotJson(ValueError):
    """The value has no JSON form; the message says which part of it, and why."""


def dumps(value: object) -> str:
    """Raises NotJson."""
    try:
        text = _encode(value)
        text.encode()
    except RecursionError:
        raise NotJson("$ is nested too deeply") from None
    except (TypeError, ValueError) as error:
        fault = _fault(value, "$", ()) or f"$: {error}"
        raise NotJson(fault.encode("utf-8", "backslashreplace").decode()) from None
    return text


def detail_json(detail: object) -> str:
    """Of an error, as user code gave it: none where it is not JSON, since the message still says what happened."""
    try:
        return "" if detail is None else dumps(detail)
    except NotJson:
        return ""


def _fault(value: object, path: str, parents: tuple[int, ...]) -> str:
    """What makes `value` no JSON, with its path; empty when nothing does."""
    if isinstance(value, str):
        return _fault_of_text(value, path)
    if isinstance(value, _ATOMS):
        return ""
    if isinstance(value, float):
        return "" if value - value == 0 else f"{path} is {value!r}, which JSON has no number for"
    if id(value) in parents:
        return f"{path} contains itself"
    if isinstance(value, dict):
        return _fault_of_object(value, path, (*parents, id(value)))
    if isinstance(value, (list, tuple)):
        members = (_fault(member, f"{path}[{i}]", (*parents, id(value))) for i, member in enumerate(value))
        return next(filter(None, members), "")
    return f"{path} is of type {type(value).__name__}, which is not JSON"


def _fault_of_text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{path} has the lone surrogate \\u{ord(text[error.start]):04x}, which is no character"
    return ""


def _fault_of_object(value: dict[object, object], path: str, parents: tuple[int, ...]) -> str:
    for key, member in value.items():
        if not isinstance(key, (*_ATOMS, float)):
            return f"{path} has a key of type {type(key).__name__}; keys of JSON objects are strings"
        fault = _fault(key, f"a key of {path}", ()) or _fault(member, f"{path}.{key}", parents)
        if fault:
            return fault
    return ""
