"""Events: immutable entries of a run's log, and which of them user code may write.

A payload is a JSON object as text. Documents that came from outside stand in it as they came
(`Raw`), so that no number or spelling is changed on the way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import orjson

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_RESERVED = re.compile(r"(run|step|approval)(\..*)?|artifact|signal")
MAX_TYPE_LENGTH = 100


class EventType(StrEnum):
    """The daemon's own types; any other is the run's."""

    CREATED = "run.created"
    STARTED = "run.started"
    RETRYING = "run.retrying"
    INTERRUPTED = "run.interrupted"
    WAITING = "run.waiting"
    RESUMED = "run.resumed"
    CANCEL_REQUESTED = "run.cancel_requested"
    COMPLETED = "run.completed"
    FAILED = "run.failed"
    CANCELLED = "run.cancelled"
    LOG = "log"
    PROGRESS = "progress"
    ARTIFACT = "artifact"
    SIGNAL = "signal"
    STEP_STARTED = "step.started"
    STEP_COMPLETED = "step.completed"
    STEP_FAILED = "step.failed"
    STEP_SKIPPED = "step.skipped"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_DECIDED = "approval.decided"
    HEALTH_CHANGED = "schedule.health_changed"


TERMINAL_TYPES = frozenset({EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED})


class Stream(StrEnum):
    """Where a `log` event's text comes from; `system` is runsd itself."""

    STDOUT = "stdout"
    STDERR = "stderr"
    SYSTEM = "system"


class Event(NamedTuple):
    """`created_at` in microseconds. Committed events never change."""

    event_id: int
    event_type: str
    payload_json: str
    created_at: int

    @property
    def is_terminal(self) -> bool:
        return self.event_type in TERMINAL_TYPES


class Committed(NamedTuple):
    """An event with its place in the daemon-wide order of commits. `run_id` is empty for events of a schedule."""

    position: int
    run_id: str
    project: str
    target: str
    event: Event
    schedule_id: str = ""


class Draft(NamedTuple):
    """An event that is not in the log yet."""

    event_type: str
    payload_json: str


class Raw(str):
    """JSON text that goes into a payload as it is."""

    __slots__ = ()


Payload = Mapping[str, Any]


# Without spaces; made once, since making an encoder costs more than most values.
_readable = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_escaped = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def compact(value: object) -> str:
    """JSON text that every wire carries: with escapes where it would not be UTF-8."""
    text = _readable(value)
    return text if text.isascii() or is_utf8(text) else _escaped(value)


def encode(value: object) -> str:
    """JSON text of a payload; `Raw` members of it and of the objects inside stay as they are."""
    try:
        return orjson.dumps(value, _embedded, orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    except TypeError:
        # Whole numbers beyond 64 bits, lone surrogates, more than 254 levels.
        return _encode_anything(value)


def _embedded(value: object) -> object:
    if isinstance(value, Raw):
        return orjson.Fragment(str(value))
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _encode_anything(value: object) -> str:
    if isinstance(value, Raw):
        return value
    if not isinstance(value, Mapping):
        return compact(value)
    own = {key: member for key, member in value.items() if isinstance(member, (Raw, Mapping))}
    plain = compact({key: member for key, member in value.items() if key not in own})
    members = ",".join(f"{compact(key)}:{_encode_anything(member)}" for key, member in own.items())
    return f"{plain[:-1]}{',' if own and len(plain) > 2 else ''}{members}}}"


def document(payload: Payload, key: str) -> str:
    """A member as JSON text: as it came when fresh, spelled anew when read back; empty when absent."""
    return _encode_anything(payload[key]) if key in payload else ""


def reader(decoder: json.JSONDecoder) -> Callable[[str], Any]:
    """As the decoder's `decode`, in a third of the time for a short text that has no spaces around it."""

    def read(text: str) -> Any:
        try:
            value, end = decoder.raw_decode(text)
        except ValueError:
            end = -1
        return value if end == len(text) else decoder.decode(text)

    return read


read_json = reader(json.JSONDecoder())


def decode(payload_json: str) -> dict[str, Any]:
    value = read_json(payload_json)
    assert isinstance(value, dict)
    return value


def is_utf8(text: str) -> bool:
    """False for text with lone surrogates, which JSON can spell but no wire can carry."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def emitted(event_type: object, payload: object) -> Draft:
    """An event as user code wrote it. Raises ValueError saying what would be right."""
    if not isinstance(event_type, str) or len(event_type) > MAX_TYPE_LENGTH or not _NAME.fullmatch(event_type):
        raise ValueError(
            f"event_type {event_type!r} must be a dotted name of letters, digits, _ and -, such as 'rows.loaded'"
        )
    if _RESERVED.fullmatch(event_type):
        raise ValueError(f"event_type {event_type!r} is reserved for runsd")
    if not isinstance(payload, dict):
        raise ValueError(f"the payload of {event_type!r} must be a JSON object, not {type(payload).__name__}")
    if event_type == EventType.LOG:
        payload = _checked_log(payload)
    if event_type == EventType.PROGRESS:
        payload = _checked_progress(payload)
    return Draft(event_type, _payload_json(event_type, payload))


def _payload_json(event_type: str, payload: dict[str, Any]) -> str:
    try:
        text = _readable(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the payload of {event_type!r} is not JSON: {error}") from None
    if not is_utf8(text):
        raise ValueError(f"the payload of {event_type!r} has a lone surrogate such as \\ud800, which is no character")
    return text


def _checked_log(payload: dict[str, Any]) -> dict[str, Any]:
    text, stream = payload.get("text"), payload.get("stream", Stream.STDOUT.value)
    if not isinstance(text, str) or stream not in (Stream.STDOUT, Stream.STDERR):
        raise ValueError("the payload of 'log' must have 'text' (a string) and may have 'stream' (stdout or stderr)")
    return {"stream": stream, "text": without_surrogates(text)}


def without_surrogates(text: str) -> str:
    """Lone surrogates spelled out: the record shows this text, and no wire carries them."""
    return text if is_utf8(text) else text.encode("utf-8", "backslashreplace").decode()


def _checked_progress(payload: dict[str, Any]) -> dict[str, Any]:
    fraction, message = payload.get("fraction"), payload.get("message", "")
    is_number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
    if not is_number or not 0 <= fraction <= 1 or not isinstance(message, str):  # type: ignore[operator]
        raise ValueError("the payload of 'progress' must have 'fraction' (0 to 1) and may have 'message' (a string)")
    return {"fraction": fraction, "message": message}


def log(stream: Stream, text: str, base64: str = "") -> Draft:
    payload = {"stream": stream.value, "text": text}
    return Draft(EventType.LOG, compact({**payload, "base64": base64} if base64 else payload))
