"""JSON documents from outside: checked once, on the way in."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from runsd.model.events import is_utf8, reader

# Pairs of them spell a character, so what is read decides.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def checked(text: str, limit: int) -> Any:
    """The value of a JSON text. Raises ValueError saying what is wrong, for the one who sent it."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise ValueError(f"has {size:,} bytes, at most {limit:,} are allowed")
    try:
        value = _decode(text)
        _check_characters(text, value)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f'is not JSON: {error.msg} at line {error.lineno} column {error.colno}; an example: {{"batchSize": 100}}'
        ) from None
    return value


def checked_object(text: str, limit: int) -> dict[str, Any]:
    value = checked(text, limit)
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object, such as {"team": "data"}')
    return value


def checked_bytes(data: bytes, limit: int) -> str:
    """The text of a document that a process wrote. Raises ValueError."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error.reason} at byte {error.start}") from None
    checked(text, limit)
    return text


def _check_characters(text: str, value: Any) -> None:
    is_spelled = _SURROGATE.search(text) and not is_utf8(json.dumps(value, ensure_ascii=False))
    if is_spelled or not is_utf8(text):
        raise ValueError(r"has a lone surrogate such as \ud800, which is no character; leave it out")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"has a number that is out of range: {text[:50]}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"is not JSON: {name} is not a JSON number")


# Made once, since making a decoder costs more than reading most documents.
_decode = reader(json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite))
