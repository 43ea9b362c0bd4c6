"""What an event says, on one line for a person; `--json` has all of it.

What is useful comes first, since a terminal may cut the end.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runsd_client.commands.times import duration
from runsd_client.documents import display_json
from runsd_client.values import Event

Payload = Mapping[str, Any]

# The target, and the line's own place, say these already.
_SAID_ELSEWHERE = frozenset({"run_id", "root_run_id", "kind"})
_ORDER_OF_CREATED = (
    "target",
    "name",
    "input",
    "config",
    "metadata",
    "priority",
    "start_after",
    "expires_after",
    "timeout_seconds",
    "backoff_limit",
    "concurrency_key",
    "retry_of_run_id",
    "parent_run_id",
    "created_by",
)
_WORD = re.compile(r"[\w:.@/+-]+")


def describe(event: Event) -> str:
    """Empty where the type says it all."""
    payload = event.payload
    if payload in (None, {}):
        return ""
    if not isinstance(payload, Mapping):
        return display_json(payload)
    describe_payload = _DESCRIPTIONS.get(event.event_type)
    return display_json(payload) if describe_payload is None else describe_payload(payload)


def describe_error(code: object, message: object) -> str:
    """`code: message`, on one line."""
    return ": ".join(part for part in (str(code or ""), _text(message)) if part)


def approval_asked(event: Event) -> str | None:
    """The name of the approval that a run asks for with this event; None for any other."""
    is_asked = event.event_type == "approval.requested" and isinstance(event.payload, Mapping)
    name = event.payload.get("name") if is_asked else None
    return name if isinstance(name, str) else None


def how_to_decide(run_id: str, name: str) -> str:
    """The command, to be copied."""
    end_of_options = ["--"] if name.startswith("-") else []
    return shlex.join(["runs", "approve", run_id, *end_of_options, name])


def log_text(event: Event) -> str | None:
    """What was written, for a `log` event; None for any other."""
    text = event.payload.get("text") if event.event_type == "log" and isinstance(event.payload, Mapping) else None
    return text if isinstance(text, str) else None


def log_stream(event: Event) -> str:
    return str(event.payload.get("stream")) if isinstance(event.payload, Mapping) else ""


def _failure(payload: Payload) -> str:
    error = payload.get("error")
    if not isinstance(error, Mapping):
        return display_json(payload)
    remarks = [f"attempt {payload['attempt']}"] if "attempt" in payload else []
    if "delay_seconds" in payload:
        remarks.append(f"next in {payload['delay_seconds']} s")
    if "retry_at" in payload:
        remarks.append(f"next at {_text(payload['retry_at'])}")
    return _joined(describe_error(error.get("code"), error.get("message", "")), _in_brackets(remarks))


def _created(payload: Payload) -> str:
    root = payload.get("root_run_id")
    inner = {} if root in (None, payload.get("run_id")) else {"root_run_id": root}
    shown = {key: value for key, value in payload.items() if key not in _SAID_ELSEWHERE}
    return _members(shown | inner, _ORDER_OF_CREATED)


def _reason(payload: Payload) -> str:
    return _members(payload, ("reason",))


def _completed(payload: Payload) -> str:
    return display_json(payload["output"]) if "output" in payload else ""


def _step_started(payload: Payload) -> str:
    kind, attempt, child = payload.get("kind"), payload.get("attempt", 1), payload.get("child_run_id")
    return _joined(
        _text(payload.get("step_id", "")),
        _text(kind) if kind != "function" and not child else "",
        f"run={_text(child)}" if child else "",
        f"until {_text(payload['until'])}" if "until" in payload else "",
        _text(payload.get("detail", "")),
        f"(attempt {attempt})" if attempt != 1 else "",
    )


def _step_completed(payload: Payload) -> str:
    took = payload.get("duration_ms")
    return _joined(
        _text(payload.get("step_id", "")),
        duration(took) if isinstance(took, int) else "",
        display_json(payload["output"]) if "output" in payload else "",
    )


def _step_failed(payload: Payload) -> str:
    return _joined(_text(payload.get("step_id", "")), _failure(payload))


def _step_skipped(payload: Payload) -> str:
    return _joined(_text(payload.get("step_id", "")), _text(payload.get("reason", "")))


def _approval_requested(payload: Payload) -> str:
    name, message = _text(payload.get("name", "")), _text(payload.get("message", ""))
    remarks = []
    if payload.get("approvers"):
        remarks.append(f"approvers {_list(payload['approvers'])}")
    if "expires_at" in payload:
        remarks.append(f"until {_text(payload['expires_at'])}")
    if "schema" in payload:
        remarks.append(f"data of {display_json(payload['schema'])}")
    return _joined(f"{name}: {message}" if message else name, _in_brackets(remarks))


def _approval_decided(payload: Payload) -> str:
    by, comment = _text(payload.get("by", "")), _text(payload.get("comment", ""))
    decided = "approved" if payload.get("approved") is True else "rejected"
    said = _joined(_text(payload.get("name", "")), decided, f"by {by}" if by else "")
    data = f"data={display_json(payload['data'])}" if "data" in payload else ""
    return _joined(f"{said}: {comment}" if comment else said, data)


def _signal(payload: Payload) -> str:
    value = display_json(payload["payload"]) if "payload" in payload else ""
    return _joined(_text(payload.get("name", "")), value)


def _health_changed(payload: Payload) -> str:
    was, run_id = _text(payload.get("was", "")), payload.get("run_id")
    before = [f"was {was}"] if was else []
    because = [f"run {_text(run_id)}"] if run_id else []
    return _joined(_text(payload.get("health", "")), _in_brackets([*before, *because]))


def _progress(payload: Payload) -> str:
    fraction = known_fraction(payload.get("fraction"))
    if fraction is None:
        return display_json(payload)
    return f"{fraction:.0%} {payload.get('message') or ''}".rstrip()


def known_fraction(value: object) -> float | None:
    """From 0 to 1; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return min(1.0, max(0.0, float(value)))


def _text(value: object) -> str:
    """On one line."""
    lines = value.splitlines() if isinstance(value, str) else [display_json(value)]
    return " ".join(line.strip() for line in lines).strip()


def _list(values: object) -> str:
    return ", ".join(map(_text, values)) if isinstance(values, list) else _text(values)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _in_brackets(remarks: Sequence[str]) -> str:
    return f"({', '.join(remarks)})" if remarks else ""


def _members(payload: Payload, first: Sequence[str] = ()) -> str:
    """`key=value`, in the order of `first`, whose own first one needs no key."""
    keys = [key for key in first if key in payload]
    keys += [key for key in payload if key not in keys]
    return " ".join(
        payload[key] if key in first[:1] and isinstance(payload[key], str) else f"{key}={_value(payload[key])}"
        for key in keys
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else display_json(value)


_DESCRIPTIONS: Mapping[str, Callable[[Payload], str]] = {
    "run.created": _created,
    "run.started": _members,
    "run.failed": _failure,
    "run.retrying": _failure,
    "run.interrupted": _failure,
    "run.waiting": _reason,
    "run.resumed": _reason,
    "run.cancel_requested": _reason,
    "run.cancelled": _reason,
    "run.completed": _completed,
    "progress": _progress,
    "step.started": _step_started,
    "step.completed": _step_completed,
    "step.failed": _step_failed,
    "step.skipped": _step_skipped,
    "approval.requested": _approval_requested,
    "approval.decided": _approval_decided,
    "signal": _signal,
    "schedule.health_changed": _health_changed,
}
