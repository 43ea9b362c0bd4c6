"""JSON text on the wire, native Python values for the caller; integers of any size survive."""

from __future__ import annotations

import json
import re
from typing import Any

_DIGITS_AT_ONCE = 4000
# Made once, since making them costs more than most documents.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder()


def write_document(value: Any) -> str:
    """Empty for None: no document. Raises TypeError or ValueError for what JSON cannot hold."""
    if value is None:
        return ""
    try:
        text = _encode(value)
    except RecursionError:
        raise ValueError("is nested too deeply; send less of it") from None
    text.encode()
    return text


def read_document(text: str) -> Any:
    """None for the empty text."""
    if not text:
        return None
    try:
        # In a third of the time of `loads`, where there are no spaces around.
        value, end = _decoder.raw_decode(text)
    except ValueError:
        end = -1
    return value if end == len(text) else _read_anything(text)


def _read_anything(text: str) -> Any:
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Python refuses to read integers over 4300 digits in one go.
        return json.loads(text, parse_int=_read_integer)


def _read_integer(digits: str) -> int:
    if digits.startswith("-"):
        return -_read_integer(digits[1:])
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    low = len(digits) // 2
    shift: int = 10**low
    return _read_integer(digits[:-low]) * shift + _read_integer(digits[-low:])


_NOT_FOR_TERMINALS = re.compile("[\x7f-\x9f\ud800-\udfff]")


def display_json(value: Any, indent: int | None = None) -> str:
    """JSON that is the same value and holds nothing that could drive a terminal."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_FOR_TERMINALS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
