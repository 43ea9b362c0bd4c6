"""The calls that scenarios name, made with the Python clients; answers and errors as plain values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from runsd_client import AsyncRunsClient, InvalidRequestError, NewRun, RunsClient, RunsError
from runsd_client.schedules import Schedules
from runsd_client.values import Record

_END = object()


class SyncClientInThreads:
    """The sync client with the methods of the async one, so that one player plays both."""

    def __init__(self, client: RunsClient | Schedules) -> None:
        self._client = client

    @property
    def schedules(self) -> SyncClientInThreads:
        assert isinstance(self._client, RunsClient)
        return SyncClientInThreads(self._client.schedules)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name in ("follow", "watch", "read_artifact"):
            return lambda *args, **options: _iterate(method(*args, **options))
        return lambda *args, **options: asyncio.to_thread(method, *args, **options)


async def _iterate(items: Any) -> AsyncGenerator[Any, None]:
    try:
        while (item := await asyncio.to_thread(next, items, _END)) is not _END:
            yield item
    finally:
        await asyncio.to_thread(items.close)


# Either client; both have these methods.
Client = AsyncRunsClient | SyncClientInThreads
Arguments = dict[str, Any]


async def _list(client: Any, arguments: Arguments) -> Any:
    if "cursor" in arguments:
        arguments["page_token"] = arguments.pop("cursor")
    return await client.list(**_with_times(arguments, "created_from", "created_before"))


def _with_times(arguments: Arguments, *names: str) -> Arguments:
    return {**arguments, **{name: datetime.fromisoformat(arguments[name]) for name in names if name in arguments}}


async def _wait(client: Any, arguments: Arguments) -> Any:
    return await client.wait(arguments.pop("run_id"), arguments.pop("timeout_seconds", None), **arguments)


async def _read_artifact(client: Any, arguments: Arguments) -> str:
    return b"".join([piece async for piece in client.read_artifact(**arguments)]).decode()


def _method(name: str) -> Callable[[Any, Arguments], Awaitable[Any]]:
    """A call whose arguments have the names that the contract gives them."""
    return lambda client, arguments: getattr(client, name)(**arguments)


def _schedules_method(name: str) -> Callable[[Any, Arguments], Awaitable[Any]]:
    return lambda client, arguments: getattr(client.schedules, name)(**arguments)


def _backfill(client: Any, arguments: Arguments) -> Awaitable[Any]:
    times = _with_times(arguments, "due_from", "due_before")
    start, end = times.pop("due_from"), times.pop("due_before")
    backfill: Callable[..., Awaitable[Any]] = client.schedules.backfill
    return backfill(start=start, end=end, **times)


CALLS: Mapping[str, Callable[[Any, Arguments], Awaitable[Any]]] = {
    "create_task": _method("create_task_run"),
    "create_workflow": _method("create_workflow_run"),
    "batch_create": lambda client, arguments: client.batch_create(
        [NewRun(**run) for run in arguments.pop("runs")], **arguments
    ),
    "get": _method("get"),
    "list": _list,
    "events": _method("events"),
    "wait": _wait,
    "cancel": _method("cancel"),
    "retry": _method("retry"),
    "signal": _method("signal"),
    "approve": _method("approve"),
    "reject": _method("reject"),
    "artifacts": _method("artifacts"),
    "read_artifact": _read_artifact,
    "targets": _method("targets"),
    "target": lambda client, arguments: client.target(arguments.pop("target"), **arguments),
    "create_schedule": _schedules_method("create"),
    "get_schedule": _schedules_method("get"),
    "list_schedules": _schedules_method("list"),
    "update_schedule": _schedules_method("update"),
    "pause_schedule": _schedules_method("pause"),
    "resume_schedule": _schedules_method("resume"),
    "delete_schedule": _schedules_method("delete"),
    "trigger_schedule": _schedules_method("trigger"),
    "preview_schedule": lambda client, arguments: client.schedules.preview(**_with_times(arguments, "after")),
    "backfill_schedule": _backfill,
}
STREAMS = frozenset({"follow", "watch"})


def plain(value: Any) -> Any:
    """As JSON would have it."""
    if isinstance(value, Record):
        return value.to_dict()
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value


def plain_error(error: RunsError) -> dict[str, Any]:
    found = error.violations if isinstance(error, InvalidRequestError) else ()
    return {
        "error": type(error).__name__,
        "code": error.code,
        "reason": error.reason,
        "message": error.message,
        "violations": [{"field": one.field, "description": one.description} for one in found],
    }
