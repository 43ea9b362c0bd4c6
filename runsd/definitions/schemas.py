"""JSON Schema: is a schema one, and does a document fit it. Nothing is ever fetched for a `$ref`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from runsd.model.errors import FieldViolation
from runsd.model.targets import Schema

if TYPE_CHECKING:
    from jsonschema_rs import Validator

MAX_VIOLATIONS = 20
_MAX_MESSAGE_LENGTH = 300


class _Identity:
    """A schema as a cache key: dicts have no hash, and comparing them would take longer than checking."""

    __slots__ = ("schema",)

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.schema is other.schema


def schema_fault(schema: Schema) -> str:
    """What is wrong with a schema, with the path inside it; empty when it is one."""
    from jsonschema_rs import ValidationError

    try:
        json.dumps(schema, allow_nan=False)
        _validator(_Identity(schema))
    except ValidationError as error:
        return f"at {json_path(error.instance_path)}: {_shortened(error.message)}"
    except (ValueError, TypeError, RecursionError) as error:
        return _shortened(str(error))
    return ""


def violations(schema: Schema, document: Any, field: str) -> list[FieldViolation]:
    """How a document, as native JSON values, breaks a valid schema; at most `MAX_VIOLATIONS`.

    `field` is the request's, such as `input_json`.
    """
    try:
        errors = list(islice(_validator(_Identity(schema)).iter_errors(document), MAX_VIOLATIONS))
    except (ValueError, RecursionError) as error:
        return [FieldViolation(field, f"cannot be checked against the schema: {_shortened(str(error))}")]
    return [FieldViolation(field, f"at {json_path(e.instance_path)}: {_shortened(e.message)}") for e in errors]


def json_path(parts: Sequence[str | int]) -> str:
    """`$.rows[3].id`; names that are no identifiers in brackets and quotes."""
    return "$" + "".join(_step(part) for part in parts)


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if part.isidentifier() else f"[{json.dumps(part)}]"


@lru_cache(maxsize=256)
def _validator(key: _Identity) -> Validator:
    from jsonschema_rs import validator_for

    return validator_for(dict(key.schema), offline=True)


def _shortened(message: str) -> str:
    text = message.partition("\n")[0]
    return text if len(text) <= _MAX_MESSAGE_LENGTH else text[:_MAX_MESSAGE_LENGTH] + "…"
