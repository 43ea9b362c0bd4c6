"""What the daemon refuses, in the words of the command: its options for the fields of the request."""

from __future__ import annotations

import re

from runsd_client.errors import InvalidRequestError, RunsError

_OPTIONS = {
    "run_id": "RUN",
    "input_json": "--input",
    "config_json": "--config",
    "metadata_json": "--metadata",
    "payload_json": "--payload",
    "data_json": "--data",
    "by": "--by",
    "comment": "--comment",
    "name": "--name",
    "priority": "--priority",
    "idempotency_key": "--idempotency-key",
    "timeout_seconds": "--timeout",
    "backoff_limit": "--retries",
    "start_after_seconds": "--delay",
    "expires_after_seconds": "--expires",
    "concurrency_key": "--concurrency-key",
    "reason": "--reason",
    "project": "--project",
    "statuses": "--status",
    "kind": "--kind",
    "name_prefix": "--name-prefix",
    "batch_id": "--batch",
    "parent_run_id": "--parent",
    "limit": "--limit",
    "page_token": "--page-token",
    "after_event_id": "--after",
    "after_position": "--after",
    "event_types": "--type",
    "targets": "--target",
    "schedule_id": "SCHEDULE",
    "cron": "--cron",
    "timezone": "--timezone",
    "at": "--at",
    "every_seconds": "--every",
    "anchor": "--anchor",
    "start_at": "--start-at",
    "end_at": "--end-at",
    "description": "--description",
    "run_name": "--run-name",
    "concurrency_policy": "--concurrency-policy",
    "catch_up": "--catch-up",
    "catch_up_window_seconds": "--catch-up-window",
    "jitter_seconds": "--jitter",
    "max_runs": "--max-runs",
    "max_staleness_seconds": "--max-staleness",
    "etag": "--etag",
    "after": "--from",
    "due_from": "--from",
    "due_before": "--to",
    "count": "--count",
}
# Where the fields of a schedule are in a request.
_PATHS = re.compile(r"^(spec\.)?(timetable\.)?")
# The others are ordinary words too, and mean a field only where one is named.
_UNMISTAKABLE = "|".join(name for name in _OPTIONS if "_" in name)


def refusal(error: RunsError) -> str:
    """The error's message for who typed the command."""
    if not isinstance(error, InvalidRequestError) or not error.violations:
        return error.message
    described = (f"{_option(v.field)}: {_with_options(v.description)}" for v in error.violations)
    return "; ".join(described)


def _option(field: str) -> str:
    """An element or a member, as `statuses[1]`, is named by the whole."""
    field = _PATHS.sub("", field)
    return _OPTIONS.get(re.split(r"[.\[]", field, maxsplit=1)[0], field)


def _with_options(description: str) -> str:
    return re.sub(rf"(?<![\w'\"])({_UNMISTAKABLE})(?![\w'\"])", lambda match: _OPTIONS[match[0]], description)
