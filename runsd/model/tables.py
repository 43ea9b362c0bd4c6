"""TOML tables to frozen dataclasses, by their annotations; pure.

All problems are reported, not just the first: dotted key, what was expected, what was found, and for
an unknown key the nearest known. A field at fault keeps its default, so that the rest stays usable.

Annotations understood: str, int, float (takes an integer), bool, Any, Path, an Enum by value, a class
with a `parse(text)` class method that raises ValueError, tuple[X, ...], Mapping[str, X], another
dataclass, unions of these, and Annotated[number, Range(...)].
"""

from __future__ import annotations

import datetime
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from runsd.model.targets import Problem

T = TypeVar("T")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UNIONS = (Union, types.UnionType)
_INVALID = object()
_NAMES: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    tuple: "an array",
    Mapping: "a table",
}
_FOUND: dict[type, str] = {
    str: "the string",
    bool: "the boolean",
    int: "the integer",
    float: "the number",
    list: "an array",
    tuple: "an array",
    Mapping: "a table",
    datetime.date: "a date",
    datetime.time: "a time",
    type(None): "nothing",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"from {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True, slots=True)
class Decoded(Generic[T]):
    """`value` is None only when a field without a default is missing or at fault."""

    value: T | None
    problems: tuple[Problem, ...]


def decode(kind: type[T], table: Mapping[str, object], *, file: str, key: str = "") -> Decoded[T]:
    """`file` and `key` (where the table stands in it) are for the problems."""
    decoder = _Decoder(file)
    value: Any = decoder.dataclass(kind, table, key)
    return Decoded(None if value is _INVALID else value, tuple(decoder.problems))


def join(key: str, name: str) -> str:
    """The dotted key of `name` inside `key`, quoted where TOML asks for it."""
    part = name if _BARE_KEY.fullmatch(name) else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{key}.{part}" if key else part


def nearest(name: str, known: Iterable[str], what: str = "keys") -> str:
    """`did you mean x?`, or what there is when nothing is near."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.7)
    if close:
        return f"did you mean {close[0]}?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known {what}: {shown}" if names else f"there are no {what}"


def leaves(kind: type, prefix: str = "") -> dict[str, Any]:
    """Every key below a dataclass that is no table itself: dotted key to annotation."""
    found: dict[str, Any] = {}
    for name, annotation in _annotations(kind).items():
        if isinstance(annotation, type) and is_dataclass(annotation) and not hasattr(annotation, "parse"):
            found.update(leaves(annotation, join(prefix, name)))
        else:
            found[join(prefix, name)] = annotation
    return found


@dataclass(slots=True)
class _Decoder:
    file: str
    problems: list[Problem] = field(default_factory=list)

    def problem(self, key: str, message: str) -> object:
        self.problems.append(Problem(self.file, key, message))
        return _INVALID

    def dataclass(self, kind: type[T], table: Mapping[str, object], key: str) -> T | object:
        annotations = _annotations(kind)
        for name in (name for name in table if name not in annotations):
            self.problem(join(key, name), f"unknown key; {nearest(name, annotations)}")
        given = {
            name: self.value(annotation, table[name], join(key, name))
            for name, annotation in annotations.items()
            if name in table
        }
        required = _required(kind)
        for name in sorted(required - given.keys()):
            self.problem(join(key, name), f"missing; expected {_expected(annotations[name])}")
        sound = {name: value for name, value in given.items() if value is not _INVALID}
        return kind(**sound) if required <= sound.keys() else _INVALID

    def value(self, annotation: Any, raw: object, key: str) -> Any:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if annotation is Any:
            return raw
        if origin in _UNIONS:
            return self.union(annotation, raw, key)
        if not _suits(annotation, raw):
            return self.problem(key, f"expected {_expected(annotation)}, found {_found(raw)}")
        if origin is Annotated:
            return self.ranged(annotation, raw, key)
        if isinstance(raw, (list, tuple)):
            return self.array(arguments[0], raw, key)
        if isinstance(raw, Mapping) and is_dataclass(annotation):
            return self.dataclass(cast(type, annotation), raw, key)
        if isinstance(raw, Mapping):
            return self.mapping(arguments[1], raw, key)
        return self.scalar(annotation, raw, key)

    def union(self, annotation: Any, raw: object, key: str) -> Any:
        for member in get_args(annotation):
            if _suits(member, raw):
                return self.value(member, raw, key)
        return self.problem(key, f"expected {_expected(annotation)}, found {_found(raw)}")

    def ranged(self, annotation: Any, raw: object, key: str) -> Any:
        kind, bounds = get_args(annotation)
        number = self.value(kind, raw, key)
        if number is _INVALID or bounds.low <= number <= bounds.high:
            return number
        return self.problem(key, f"expected {_expected(annotation)}, found {_found(raw)}")

    def array(self, member: Any, raw: Sequence[object], key: str) -> Any:
        values = tuple(self.value(member, item, f"{key}[{index}]") for index, item in enumerate(raw))
        return _INVALID if any(value is _INVALID for value in values) else values

    def mapping(self, member: Any, raw: Mapping[str, object], key: str) -> Any:
        values = {name: self.value(member, item, join(key, name)) for name, item in raw.items()}
        return _INVALID if any(value is _INVALID for value in values.values()) else values

    def scalar(self, annotation: Any, raw: Any, key: str) -> Any:
        try:
            if hasattr(annotation, "parse"):
                return annotation.parse(raw)
            if annotation is Path and (not raw or "\0" in raw):
                raise ValueError("a path cannot be empty or hold a NUL character")
            return raw if annotation is type(None) else annotation(raw)
        except (ValueError, OverflowError) as error:
            if isinstance(annotation, type) and issubclass(annotation, Enum):
                return self.problem(key, f"expected {_expected(annotation)}, found {_found(raw)}")
            return self.problem(key, str(error))


def _annotations(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind)}


def _required(kind: type) -> set[str]:
    return {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}


def _suits(annotation: Any, raw: object) -> bool:
    """Is `raw` of the TOML type that `annotation` is written as?"""
    shape = _shape(annotation)
    if shape is float:
        return isinstance(raw, (int, float)) and not isinstance(raw, bool)
    if shape is int:
        return isinstance(raw, int) and not isinstance(raw, bool)
    if shape is tuple:
        return isinstance(raw, (list, tuple))
    return isinstance(raw, shape)


def _shape(annotation: Any) -> type:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return object
    if origin is Annotated:
        return _shape(arguments[0])
    if origin is not None:
        return tuple if origin is tuple else Mapping
    if hasattr(annotation, "parse") or issubclass(annotation, (Enum, Path)):
        return str
    return Mapping if is_dataclass(annotation) else annotation


def _expected(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in _UNIONS:
        return " or ".join(_expected(member) for member in arguments if member is not type(None))
    if origin is Annotated:
        return f"{_expected(arguments[0])} {arguments[1]}"
    if origin is tuple:
        return f"an array of {_expected(arguments[0]).partition(' ')[2]}s"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(repr(member.value) for member in annotation)
    if annotation is Path:
        return "a path"
    return _NAMES.get(_shape(annotation), "a value")


def _found(raw: object) -> str:
    name = next((name for kind, name in _FOUND.items() if isinstance(raw, kind)), type(raw).__name__)
    if isinstance(raw, bool):
        return f"{name} {str(raw).lower()}"
    if isinstance(raw, (str, int, float)):
        text = repr(raw)
        return f"{name} {text if len(text) <= 60 else text[:60] + '…'}"
    return name
