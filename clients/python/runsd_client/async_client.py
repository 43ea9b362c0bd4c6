"""The async client. Thin: what is sent, how it is read and what is tried again is decided elsewhere."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio

from runsd_client import calls, requests
from runsd_client.artifact_files import ArtifactFile, destination, find_artifact
from runsd_client.async_schedules import AsyncSchedules
from runsd_client.calls import Call
from runsd_client.core import ClientCore
from runsd_client.create_batches import CreateBatches
from runsd_client.cursors import ArtifactCursor, Cursor, EventCursor, WatchCursor
from runsd_client.proto.admin_pb2_grpc import AdminStub
from runsd_client.proto.definitions_pb2_grpc import DefinitionsStub
from runsd_client.proto.runs_pb2 import WaitRunsRequest
from runsd_client.proto.runs_pb2_grpc import RunsStub
from runsd_client.proto.schedules_pb2_grpc import SchedulesStub
from runsd_client.requests import NewRun, RunFilters, RunOptions
from runsd_client.retrying import Tries
from runsd_client.values import (
    Artifact,
    CancelAnswer,
    CreateAnswer,
    Definitions,
    Event,
    Page,
    ReloadAnswer,
    Run,
    SignalAnswer,
    TargetInfo,
    WatchedEvent,
)
from runsd_client.wait_batches import Stream, WaitBatches

T = TypeVar("T")


class AsyncRunsClient(ClientCore):
    """Runs on one daemon, from asyncio code.

    The methods are those of RunsClient, and described there. Runs that are created, or waited for, at
    the same time travel in few calls. A stream that is left before its end
    should be closed: `async with contextlib.aclosing(client.follow(run_id)) as events`.
    """

    @cached_property
    def schedules(self) -> AsyncSchedules:
        return AsyncSchedules(self._call, self._settings)

    async def create_task_run(
        self, target: str, *, project: str | None = None, **options: Unpack[RunOptions]
    ) -> CreateAnswer:
        return await self.create(requests.task_run(target, options), project=project)

    async def create_workflow_run(
        self,
        workflow_id: str | None = None,
        *,
        target: str | None = None,
        project: str | None = None,
        **options: Unpack[RunOptions],
    ) -> CreateAnswer:
        return await self.create(requests.workflow_run(workflow_id, target, options), project=project)

    async def create(self, run: NewRun, *, project: str | None = None) -> CreateAnswer:
        request = requests.create_request(run, self._settings, self._settings.project_or_default(project))
        return await self._answered(partial(self._creates.answer, request))

    async def batch_create(self, runs: Sequence[NewRun], *, project: str | None = None) -> tuple[CreateAnswer, ...]:
        return await self._call(calls.batch_create(runs, self._settings, project))

    async def get(self, run_id: str) -> Run:
        return await self._call(calls.get(run_id))

    async def list(
        self,
        *,
        project: str | None = None,
        limit: int = 0,
        page_token: str = "",
        **filters: Unpack[RunFilters],
    ) -> Page[Run]:
        return await self._call(calls.list_runs(self._settings, project, limit, page_token, filters))

    async def list_all(
        self, *, project: str | None = None, limit: int = 0, **filters: Unpack[RunFilters]
    ) -> AsyncIterator[Run]:
        page_token = ""
        while True:
            page = await self.list(project=project, limit=limit, page_token=page_token, **filters)
            for run in page.data:
                yield run
            if not (page_token := page.page_info.next):
                return

    async def events(self, run_id: str, *, after_event_id: int = 0, limit: int = 0) -> Page[Event]:
        return await self._call(calls.events(run_id, after_event_id, limit))

    def follow(self, run_id: str, *, after_event_id: int = 0) -> AsyncGenerator[Event, None]:
        return self._stream(EventCursor(run_id, after_event_id, follow=True))

    def replay(self, run_id: str, *, after_event_id: int = 0) -> AsyncGenerator[Event, None]:
        return self._stream(EventCursor(run_id, after_event_id, follow=False))

    def watch(
        self,
        *,
        project: str | None = None,
        after_position: int | None = None,
        event_types: Sequence[str] = (),
        targets: Sequence[str] = (),
    ) -> AsyncGenerator[WatchedEvent, None]:
        project = self._settings.project_or_default(project)
        return self._stream(WatchCursor(project, after_position, event_types, targets))

    async def wait(self, run_id: str, timeout: float | None = None) -> Run:
        waiting, tries = self._wait(run_id, timeout)
        while True:
            try:
                run = await self._waits.run(run_id, waiting.next_seconds())
            except grpc.RpcError as error:
                await asyncio.sleep(waiting.within_the_time(tries.after(self._error(error))))
                continue
            tries.succeeded()
            if waiting.is_over(run):
                return run

    async def cancel(self, run_id: str, *, reason: str = "") -> CancelAnswer:
        return await self._call(calls.cancel(run_id, reason))

    async def retry(self, run_id: str, *, from_failed_step: bool = False, idempotency_key: str = "") -> CreateAnswer:
        return await self._call(calls.retry(run_id, from_failed_step, idempotency_key))

    async def signal(self, run_id: str, name: str, payload: Any = None, *, idempotency_key: str = "") -> SignalAnswer:
        return await self._call(calls.signal(run_id, name, payload, idempotency_key))

    async def approve(self, run_id: str, name: str, *, by: str = "", comment: str = "", data: Any = None) -> Run:
        return await self._call(calls.decide(run_id, name, True, by, comment, data))

    async def reject(self, run_id: str, name: str, *, by: str = "", comment: str = "", data: Any = None) -> Run:
        return await self._call(calls.decide(run_id, name, False, by, comment, data))

    async def artifacts(self, run_id: str) -> tuple[Artifact, ...]:
        found: tuple[Artifact, ...] = ()
        page_token = ""
        while True:
            page = await self._call(calls.artifacts(run_id, page_token))
            found += page.data
            if not (page_token := page.page_info.next):
                return found

    def read_artifact(self, run_id: str, name: str) -> AsyncGenerator[bytes, None]:
        return self._stream(ArtifactCursor(run_id, name))

    async def download_artifact(self, run_id: str, name: str, to_path: str | os.PathLike[str]) -> Path:
        artifact = find_artifact(run_id, name, await self.artifacts(run_id))
        with ArtifactFile(artifact, destination(name, to_path)) as file:
            async for chunk in self.read_artifact(run_id, name):
                file.write(chunk)
            return file.keep()

    async def targets(self, *, project: str | None = None) -> tuple[TargetInfo, ...]:
        return (await self.definitions(project=project)).data

    async def definitions(self, *, project: str | None = None) -> Definitions:
        return await self._call(calls.definitions(self._settings, project))

    async def target(self, name: str, *, project: str | None = None) -> TargetInfo:
        return await self._call(calls.target(name, self._settings, project))

    async def reload(self, *, project: str | None = None) -> ReloadAnswer:
        return await self._call(calls.reload(self._settings, project))

    async def drain(self, seconds: float = 30.0) -> int:
        return await self._call(calls.drain(seconds))

    async def resume(self) -> None:
        await self._call(calls.resume())

    async def close(self) -> None:
        self._closed = True
        if "_channel" in self.__dict__:
            await self._channel.close()
        for batches in ("_creates", "_waits"):
            if batches in self.__dict__:
                await getattr(self, batches).ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.address, options=self._channel_options())

    @cached_property
    def _stubs(self) -> Mapping[str, Any]:
        return {
            "runs": RunsStub(self._channel),
            "definitions": DefinitionsStub(self._channel),
            "admin": AdminStub(self._channel),
            "schedules": SchedulesStub(self._channel),
        }

    @cached_property
    def _creates(self) -> CreateBatches:
        return CreateBatches(self._once, self._error)

    @cached_property
    def _waits(self) -> WaitBatches:
        def open_stream(request: WaitRunsRequest, deadline_seconds: float) -> Stream:
            self._check_open()
            metadata = self._settings.call_metadata
            stream: Stream = self._stubs["runs"].WaitRuns(request, timeout=deadline_seconds, metadata=metadata)
            return stream

        return WaitBatches(self._once, open_stream, self._error)

    async def _call(self, call: Call[T]) -> T:
        return await self._answered(partial(self._once, call))

    async def _answered(self, once: Callable[[], Awaitable[T]]) -> T:
        tries = self._tries()
        while True:
            try:
                return await once()
            except grpc.RpcError as error:
                await asyncio.sleep(tries.after(self._error(error)))

    async def _once(self, call: Call[T]) -> T:
        self._check_open()
        method = getattr(self._stubs[call.service], call.method)
        metadata = self._settings.call_metadata
        answer = await method(call.request, timeout=call.deadline_seconds, metadata=metadata)
        self._answered_at = time.monotonic()
        return call.read(answer)

    async def _stream(self, cursor: Cursor[Any, T]) -> AsyncGenerator[T, None]:
        tries = self._tries()
        if (first := cursor.first_call()) is not None:
            for item in await self._call(first):
                yield item
            tries.succeeded()
        while not cursor.finished:
            try:
                async with aclosing(self._stream_once(cursor, tries)) as items:
                    async for item in items:
                        yield item
                failure = self._early_end()
            except grpc.RpcError as error:
                failure = self._error(error)
            if not cursor.finished:
                await asyncio.sleep(tries.after(failure))

    async def _stream_once(self, cursor: Cursor[Any, T], tries: Tries) -> AsyncGenerator[T, None]:
        self._check_open()
        method = getattr(self._stubs["runs"], cursor.method)
        stream = method(cursor.request(), metadata=self._settings.call_metadata)
        try:
            async for answer in stream:
                tries.succeeded()
                for item in cursor.accept(answer):
                    yield item
                if cursor.finished:
                    return
            if (last_check := cursor.stream_ended()) is not None:
                for item in await self._once(last_check):
                    yield item
        finally:
            stream.cancel()
