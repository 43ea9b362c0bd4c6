"""A daemon small enough to be told what to do wrong: the contract's servicers over a dictionary.

It runs on a loop of its own thread, so that sync clients and the command can be tested against it.
"""

# ruff: noqa: N802 - the generated servicers name the methods
from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from runsd_client.proto import definitions_pb2, run_pb2, runs_pb2, schedules_pb2
from runsd_client.proto.definitions_pb2_grpc import DefinitionsServicer, add_DefinitionsServicer_to_server
from runsd_client.proto.runs_pb2_grpc import RunsServicer, add_RunsServicer_to_server
from runsd_client.proto.schedules_pb2_grpc import add_SchedulesServicer_to_server

from tests.unit.client.fake_answers import LOST, Failure, fail
from tests.unit.client.fake_schedules import ScheduleService

__all__ = ["LOST", "Failure", "FakeDaemon"]

T = TypeVar("T")

FINAL_TYPES = {
    run_pb2.RUN_STATUS_COMPLETED: "run.completed",
    run_pb2.RUN_STATUS_FAILED: "run.failed",
    run_pb2.RUN_STATUS_CANCELLED: "run.cancelled",
}
TERMINAL = set(FINAL_TYPES)


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    request: Any
    metadata: Mapping[str, str]


@dataclass
class State:
    """What outlives a restart.

    `lost_answers`: how a call fails once it is done. `breaks`: after how many items each of the next
    streams ends, and how.
    """

    runs: dict[str, run_pb2.Run] = field(default_factory=dict)
    events: dict[str, list[run_pb2.Event]] = field(default_factory=lambda: defaultdict(list))
    order: list[runs_pb2.WatchedEvent] = field(default_factory=list)
    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    targets: list[definitions_pb2.Target] = field(default_factory=list)
    schedules: dict[str, schedules_pb2.Schedule] = field(default_factory=dict)
    occurrences: list[schedules_pb2.Occurrence] = field(default_factory=list)
    backfilled: list[schedules_pb2.BackfilledRun] = field(default_factory=list)
    problems: list[definitions_pb2.DefinitionProblem] = field(default_factory=list)
    failures: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    lost_answers: dict[str, deque[Failure]] = field(default_factory=lambda: defaultdict(deque))
    signal_keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    decisions: dict[tuple[str, str], runs_pb2.DecideApprovalRequest] = field(default_factory=dict)
    breaks: deque[tuple[int, Failure | None]] = field(default_factory=deque)
    received: list[Received] = field(default_factory=list)
    items_per_message: int = 3
    page_size: int = 2
    repeats: bool = False


class Service(RunsServicer, DefinitionsServicer):
    def __init__(self, state: State) -> None:
        self.state = state
        self.changed = asyncio.Condition()

    async def receive(self, method: str, request: Message, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.state.received.append(Received(method, request, metadata))
        if self.state.failures[method]:
            await fail(context, self.state.failures[method].popleft())

    async def lose_answer(self, method: str, context: Any) -> None:
        if self.state.lost_answers[method]:
            await fail(context, self.state.lost_answers[method].popleft())

    async def run(self, run_id: str, context: Any) -> run_pb2.Run:
        if run_id not in self.state.runs:
            await fail(context, Failure(grpc.StatusCode.NOT_FOUND, f"there is no run {run_id!r}", "RUN_NOT_FOUND"))
        return self.state.runs[run_id]

    async def change(self, action: Any) -> None:
        async with self.changed:
            action()
            self.changed.notify_all()

    def append(self, run_id: str, event_type: str, payload: Any) -> None:
        log = self.state.events[run_id]
        event = run_pb2.Event(event_id=len(log) + 1, event_type=event_type, payload_json=json.dumps(payload))
        event.created_at.FromMilliseconds(1_800_000_000_000 + len(log))
        log.append(event)
        position = 3 * (len(self.state.order) + 1)
        target = self.state.runs[run_id].target
        self.state.order.append(runs_pb2.WatchedEvent(position=position, run_id=run_id, target=target, event=event))

    def made(self, request: runs_pb2.CreateRunRequest) -> runs_pb2.CreateRunResponse:
        for run in self.state.runs.values():
            if request.idempotency_key and run.idempotency_key == request.idempotency_key:
                return runs_pb2.CreateRunResponse(accepted=True, duplicate=True, run=run)
        is_workflow = request.target.startswith("workflow:")
        copied = {f: getattr(request, f) for f in ("target", "name", "input_json", "config_json", "metadata_json")}
        run = run_pb2.Run(
            run_id=f"run-{len(self.state.runs) + 1}",
            kind=run_pb2.RUN_KIND_WORKFLOW if is_workflow else run_pb2.RUN_KIND_TASK,
            status=run_pb2.RUN_STATUS_PENDING,
            idempotency_key=request.idempotency_key,
            parent_run_id=request.parent_run_id,
            project=request.project,
            **copied,
        )
        run.created_at.FromMilliseconds(1_800_000_000_000)
        self.state.runs[run.run_id] = run
        self.append(run.run_id, "run.created", {"target": run.target})
        return runs_pb2.CreateRunResponse(accepted=True, duplicate=False, run=run)

    async def CreateRun(self, request: runs_pb2.CreateRunRequest, context: Any) -> runs_pb2.CreateRunResponse:
        await self.receive("CreateRun", request, context)
        return self.made(request)

    async def BatchCreateRuns(
        self, request: runs_pb2.BatchCreateRunsRequest, context: Any
    ) -> runs_pb2.BatchCreateRunsResponse:
        await self.receive("BatchCreateRuns", request, context)
        made = runs_pb2.BatchCreateRunsResponse(data=[self.made(one) for one in request.requests])
        for answer in made.data:
            answer.run.ClearField("input_json")
            answer.run.ClearField("config_json")
        await self.lose_answer("BatchCreateRuns", context)
        return made

    async def GetRun(self, request: runs_pb2.GetRunRequest, context: Any) -> runs_pb2.GetRunResponse:
        await self.receive("GetRun", request, context)
        return runs_pb2.GetRunResponse(run=await self.run(request.run_id, context))

    async def WaitRun(self, request: runs_pb2.WaitRunRequest, context: Any) -> runs_pb2.WaitRunResponse:
        await self.receive("WaitRun", request, context)
        await self.run(request.run_id, context)
        ended = lambda: self.state.runs[request.run_id].status in TERMINAL  # noqa: E731
        async with self.changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait_for(ended), request.timeout_seconds or None)
        return runs_pb2.WaitRunResponse(run=self.state.runs[request.run_id])

    async def WaitRuns(
        self, request: runs_pb2.WaitRunsRequest, context: Any
    ) -> AsyncIterator[runs_pb2.WaitRunsResponse]:
        await self.receive("WaitRuns", request, context)
        awaited = {run_id: await self.run(run_id, context) for run_id in request.run_ids}
        while awaited:
            async with self.changed:
                while not (ended := [run for run in awaited.values() if run.status in TERMINAL]):
                    await self.changed.wait()
            yield runs_pb2.WaitRunsResponse(data=ended)
            await self.lose_answer("WaitRuns", context)
            for run in ended:
                del awaited[run.run_id]

    async def ListRuns(self, request: runs_pb2.ListRunsRequest, context: Any) -> runs_pb2.ListRunsResponse:
        await self.receive("ListRuns", request, context)
        fitting = [r for r in self.state.runs.values() if not request.statuses or r.status in request.statuses]
        start, size = int(request.page_token or 0), request.limit or self.state.page_size
        end = start + size
        next_token = str(end) if end < len(fitting) else ""
        return runs_pb2.ListRunsResponse(
            data=fitting[start:end],
            page_info={"self": str(start), "first": "0", "next": next_token},  # type: ignore[arg-type]
        )

    async def CancelRun(self, request: runs_pb2.CancelRunRequest, context: Any) -> runs_pb2.CancelRunResponse:
        await self.receive("CancelRun", request, context)
        run = await self.run(request.run_id, context)
        if run.status in TERMINAL:
            return runs_pb2.CancelRunResponse(cancelled=False, run=run)
        await self.change(lambda: self.finish(request.run_id, run_pb2.RUN_STATUS_CANCELLED))
        return runs_pb2.CancelRunResponse(cancelled=True, run=run)

    async def RetryRun(self, request: runs_pb2.RetryRunRequest, context: Any) -> runs_pb2.RetryRunResponse:
        await self.receive("RetryRun", request, context)
        run = await self.run(request.run_id, context)
        if run.status not in {run_pb2.RUN_STATUS_FAILED, run_pb2.RUN_STATUS_CANCELLED}:
            message = f"run {request.run_id} has not failed"
            await fail(context, Failure(grpc.StatusCode.FAILED_PRECONDITION, message, "NOT_RETRYABLE"))
        made = self.made(runs_pb2.CreateRunRequest(target=run.target, idempotency_key=request.idempotency_key))
        return runs_pb2.RetryRunResponse(accepted=True, duplicate=made.duplicate, run=made.run)

    async def SignalRun(self, request: runs_pb2.SignalRunRequest, context: Any) -> runs_pb2.SignalRunResponse:
        await self.receive("SignalRun", request, context)
        run = await self.run(request.run_id, context)
        if run.status in TERMINAL:
            await fail(context, Failure(grpc.StatusCode.FAILED_PRECONDITION, "the run has ended", "RUN_ENDED"))
        keys = self.state.signal_keys[request.run_id]
        duplicate = request.idempotency_key in keys
        if not duplicate:
            keys.add(request.idempotency_key)
            await self.change(lambda: self.append(run.run_id, "signal", {"name": request.name}))
        await self.lose_answer("SignalRun", context)
        return runs_pb2.SignalRunResponse(accepted=True, duplicate=duplicate, run=run)

    async def DecideApproval(
        self, request: runs_pb2.DecideApprovalRequest, context: Any
    ) -> runs_pb2.DecideApprovalResponse:
        await self.receive("DecideApproval", request, context)
        run = await self.run(request.run_id, context)
        decided = self.state.decisions.setdefault((request.run_id, request.name), request)
        if decided is request:
            payload = {"name": request.name, "approved": request.approved, "by": request.by}
            await self.change(lambda: self.append(run.run_id, "approval.decided", payload))
        elif decided != request:
            message = f"{request.name} has been decided by {decided.by}"
            await fail(context, Failure(grpc.StatusCode.FAILED_PRECONDITION, message, "APPROVAL_DECIDED"))
        await self.lose_answer("DecideApproval", context)
        return runs_pb2.DecideApprovalResponse(run=run)

    async def ListEvents(self, request: runs_pb2.ListEventsRequest, context: Any) -> runs_pb2.ListEventsResponse:
        await self.receive("ListEvents", request, context)
        run = await self.run(request.run_id, context)
        end = request.after_event_id + (request.limit or self.state.page_size)
        log = self.state.events[request.run_id]
        is_end = run.status in TERMINAL and end >= len(log)
        return runs_pb2.ListEventsResponse(
            data=log[request.after_event_id : end],
            page_info={
                "self": str(request.after_event_id),
                "next": "" if is_end else str(min(end, len(log))),
            },  # type: ignore[arg-type]
        )

    async def Events(self, request: runs_pb2.EventsRequest, context: Any) -> AsyncIterator[runs_pb2.EventsResponse]:
        await self.receive("Events", request, context)
        run = await self.run(request.run_id, context)
        log = self.state.events[request.run_id]
        limit, how = self.state.breaks.popleft() if self.state.breaks else (10**9, None)
        at, sent = request.after_event_id, 0
        while sent < limit:
            async with self.changed:
                while not (len(log) > at or run.status in TERMINAL or not request.follow):
                    await self.changed.wait()
            batch = log[at : at + min(self.state.items_per_message, limit - sent)]
            if batch:
                again = log[max(0, at - 2) : at] if self.state.repeats else []
                yield runs_pb2.EventsResponse(data=[*again, *batch])
            at, sent = at + len(batch), sent + len(batch)
            if sent < limit and at >= len(log) and (run.status in TERMINAL or not request.follow):
                return
        if how is not None:
            await fail(context, how)

    async def WatchEvents(
        self, request: runs_pb2.WatchEventsRequest, context: Any
    ) -> AsyncIterator[runs_pb2.WatchEventsResponse]:
        await self.receive("WatchEvents", request, context)
        order = self.state.order
        limit, how = self.state.breaks.popleft() if self.state.breaks else (10**9, None)
        last = order[-1].position if order else 0
        at, sent = request.after_position if request.HasField("after_position") else last, 0
        yield runs_pb2.WatchEventsResponse(position=at)
        while sent < limit:
            async with self.changed:
                while not (order and order[-1].position > at):
                    await self.changed.wait()
            batch = [e for e in order if e.position > at][: min(self.state.items_per_message, limit - sent)]
            at, sent = batch[-1].position, sent + len(batch)
            wanted = [e for e in batch if not request.targets or e.target in request.targets]
            again = [e for e in order if e.position < batch[0].position][-2:] if self.state.repeats else []
            yield runs_pb2.WatchEventsResponse(data=[*again, *wanted], position=at)
        if how is not None:
            await fail(context, how)

    async def ListArtifacts(
        self, request: runs_pb2.ListArtifactsRequest, context: Any
    ) -> runs_pb2.ListArtifactsResponse:
        await self.receive("ListArtifacts", request, context)
        artifacts = (await self.run(request.run_id, context)).artifacts
        start = int(request.page_token or 0)
        end = start + self.state.page_size
        return runs_pb2.ListArtifactsResponse(
            data=artifacts[start:end],
            page_info={"next": str(end) if end < len(artifacts) else ""},  # type: ignore[arg-type]
        )

    async def ReadArtifact(
        self, request: runs_pb2.ReadArtifactRequest, context: Any
    ) -> AsyncIterator[runs_pb2.ReadArtifactResponse]:
        await self.receive("ReadArtifact", request, context)
        content = self.state.files[request.run_id, request.name]
        limit, how = self.state.breaks.popleft() if self.state.breaks else (10**9, None)
        for at in range(request.offset, min(len(content), request.offset + limit), 4):
            yield runs_pb2.ReadArtifactResponse(data=content[at : min(at + 4, request.offset + limit)])
        if how is not None:
            await fail(context, how)

    async def ListTargets(self, request: Any, context: Any) -> definitions_pb2.ListTargetsResponse:
        await self.receive("ListTargets", request, context)
        return definitions_pb2.ListTargetsResponse(data=self.state.targets, problems=self.state.problems)

    async def GetTarget(self, request: Any, context: Any) -> definitions_pb2.GetTargetResponse:
        await self.receive("GetTarget", request, context)
        found = [target for target in self.state.targets if target.target == request.target]
        if not found:
            await fail(context, Failure(grpc.StatusCode.NOT_FOUND, "no such target", "TARGET_NOT_FOUND"))
        return definitions_pb2.GetTargetResponse(target=found[0])

    async def Reload(self, request: Any, context: Any) -> definitions_pb2.ReloadResponse:
        await self.receive("Reload", request, context)
        problems = [problem for target in self.state.targets for problem in target.problems]
        return definitions_pb2.ReloadResponse(data=self.state.targets, problems=problems)

    def finish(self, run_id: str, status: run_pb2.RunStatus.ValueType, output: Any = None) -> None:
        run = self.state.runs[run_id]
        run.status = status
        if output is not None:
            run.output_json = json.dumps(output)
        self.append(run_id, FINAL_TYPES[status], {})


class FakeDaemon:
    """`start` and `stop` may alternate; the state and the socket stay."""

    def __init__(self, socket: Path) -> None:
        self.address = f"unix:{socket}"
        self.state = State()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._thread = None

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._service = Service(self.state)
        server = grpc.aio.server()
        add_RunsServicer_to_server(self._service, server)
        add_DefinitionsServicer_to_server(self._service, server)
        add_SchedulesServicer_to_server(ScheduleService(self._service), server)
        server.add_insecure_port(self.address)
        await server.start()
        ready.set()
        await self._stop.wait()
        await server.stop(None)

    def _on_loop(self, action: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(action, self._loop).result(10)

    def add_run(self, target: str = "task:sync-data", **fields: Any) -> str:
        run_id = f"run-{len(self.state.runs) + 1}"
        run = run_pb2.Run(run_id=run_id, target=target, kind=run_pb2.RUN_KIND_TASK, **fields)
        run.status = run.status or run_pb2.RUN_STATUS_RUNNING
        run.created_at.FromMilliseconds(1_800_000_000_000)
        self.state.runs[run_id] = run
        self.emit(run_id, "run.created", {})
        return run_id

    def emit(self, run_id: str, event_type: str, payload: Any) -> None:
        self._on_loop(self._service.change(lambda: self._service.append(run_id, event_type, payload)))

    def emit_logs(self, run_id: str, texts: Iterable[str], stream: str = "stdout") -> None:
        for text in texts:
            self.emit(run_id, "log", {"stream": stream, "text": text})

    def finish(
        self,
        run_id: str,
        status: run_pb2.RunStatus.ValueType = run_pb2.RUN_STATUS_COMPLETED,
        output: Any = None,
    ) -> None:
        self._on_loop(self._service.change(lambda: self._service.finish(run_id, status, output)))

    def add_file(self, run_id: str, name: str, content: bytes, sha256: str = "") -> None:
        self.state.files[run_id, name] = content
        self.state.runs[run_id].artifacts.add(
            name=name,
            size_bytes=len(content),
            sha256=sha256 or hashlib.sha256(content).hexdigest(),
            media_type="text/plain",
            attempt=1,
        )

    def requests(self, method: str) -> list[Any]:
        return [received.request for received in self.state.received if received.method == method]
