"""Native values that JSON can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


class NotJson(ValueError):
    """The message says what is there instead."""


def kind_of(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), f"a {type(value).__name__}")


def native(value: object) -> Any:
    """The value with plain lists and dicts. Raises NotJson."""
    if isinstance(value, float) and not math.isfinite(value):
        raise NotJson(f"the number {value}, which is not JSON")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [native(item) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise NotJson(f"an object with the key {key!r}, which is no text")
        return {key: native(item) for key, item in value.items()}
    raise NotJson(f"{kind_of(value)}, which is not JSON; string(…) makes a text of it")
