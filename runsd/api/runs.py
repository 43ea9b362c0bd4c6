"""The Runs service."""

from __future__ import annotations

from collections.abc import AsyncIterator

from runsd_client.proto import run_pb2, runs_pb2, runs_pb2_grpc

from runsd.api.conversion import (
    artifact_message,
    create_request,
    event_message,
    record_message,
    run_message,
    watched_message,
)
from runsd.api.errors import answering, streaming
from runsd.api.pages import PageMessages, record_pages
from runsd.api.requests import (
    DEFAULT_EVENTS,
    MAX_PAGE,
    cursor,
    name_from_token,
    name_token,
    page_limit,
    run_filter,
    wait_seconds,
)
from runsd.engine.artifact_reading import read_artifact
from runsd.engine.engine import Engine
from runsd.engine.following import EventFilter, ended_runs, project_events, run_events, wait_until_terminal
from runsd.engine.intake import Created
from runsd.engine.signals import Decision
from runsd.store.queries import EventPage

# Of page tokens.
ARTIFACTS = "artifacts"


class Runs(runs_pb2_grpc.RunsServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store
        self._pages = PageMessages()

    @answering
    async def CreateRun(self, request: runs_pb2.CreateRunRequest) -> runs_pb2.CreateRunResponse:  # noqa: N802
        return _created(await self._engine.intake.create(create_request(request)))

    @answering
    async def BatchCreateRuns(  # noqa: N802
        self, request: runs_pb2.BatchCreateRunsRequest
    ) -> runs_pb2.BatchCreateRunsResponse:
        wanted = [create_request(one) for one in request.requests]
        created = await self._engine.intake.create_batch(request.project, wanted)
        return runs_pb2.BatchCreateRunsResponse(data=map(_created_without_documents, created))

    @answering
    async def GetRun(self, request: runs_pb2.GetRunRequest) -> runs_pb2.GetRunResponse:  # noqa: N802
        return runs_pb2.GetRunResponse(run=record_message(await self._store.queries.record(request.run_id)))

    @answering
    async def WaitRun(self, request: runs_pb2.WaitRunRequest) -> runs_pb2.WaitRunResponse:  # noqa: N802
        await wait_until_terminal(self._store, request.run_id, wait_seconds(request.timeout_seconds))
        return runs_pb2.WaitRunResponse(run=record_message(await self._store.queries.record(request.run_id)))

    @streaming
    async def WaitRuns(self, request: runs_pb2.WaitRunsRequest) -> AsyncIterator[runs_pb2.WaitRunsResponse]:  # noqa: N802
        seconds = wait_seconds(request.timeout_seconds)
        async for records in ended_runs(self._store, request.run_ids, seconds):
            for runs in record_pages(records):
                yield runs_pb2.WaitRunsResponse(data=runs)

    @answering
    async def ListRuns(self, request: runs_pb2.ListRunsRequest) -> runs_pb2.ListRunsResponse:  # noqa: N802
        project = self._engine.catalog.project(request.project).id
        page = await self._store.queries.runs(run_filter(request, project))
        info = run_pb2.PageInfo(self=page.self_token, next=page.next_token, prev=page.prev_token)
        return runs_pb2.ListRunsResponse(data=map(record_message, page.records), page_info=info)

    @answering
    async def CancelRun(self, request: runs_pb2.CancelRunRequest) -> runs_pb2.CancelRunResponse:  # noqa: N802
        answer = await self._engine.intake.cancel(request.run_id, request.reason)
        return runs_pb2.CancelRunResponse(cancelled=answer.cancelled, run=run_message(answer.run))

    @answering
    async def RetryRun(self, request: runs_pb2.RetryRunRequest) -> runs_pb2.RetryRunResponse:  # noqa: N802
        created = await self._engine.intake.retry(request.run_id, request.idempotency_key, request.from_failed_step)
        return runs_pb2.RetryRunResponse(accepted=True, duplicate=created.duplicate, run=record_message(created.record))

    @answering
    async def SignalRun(self, request: runs_pb2.SignalRunRequest) -> runs_pb2.SignalRunResponse:  # noqa: N802
        sent = await self._engine.signals.send(
            request.run_id, request.name, request.payload_json, request.idempotency_key
        )
        return runs_pb2.SignalRunResponse(accepted=True, duplicate=sent.duplicate, run=run_message(sent.run))

    @answering
    async def DecideApproval(  # noqa: N802
        self, request: runs_pb2.DecideApprovalRequest
    ) -> runs_pb2.DecideApprovalResponse:
        decision = Decision(
            request.name, request.approved, request.by, request.comment, request.data_json, request.idempotency_key
        )
        run = await self._engine.signals.decide(request.run_id, decision)
        return runs_pb2.DecideApprovalResponse(run=run_message(run))

    @answering
    async def ListEvents(self, request: runs_pb2.ListEventsRequest) -> runs_pb2.ListEventsResponse:  # noqa: N802
        after, limit = (
            cursor("after_event_id", request.after_event_id),
            page_limit(request.limit, DEFAULT_EVENTS),
        )
        page = await self._store.queries.events(request.run_id, after, limit)
        return runs_pb2.ListEventsResponse(
            data=map(event_message, page.events), page_info=_event_page_info(page, after, limit)
        )

    @streaming
    async def Events(self, request: runs_pb2.EventsRequest) -> AsyncIterator[runs_pb2.EventsResponse]:  # noqa: N802
        after = cursor("after_event_id", request.after_event_id)
        async for events in run_events(self._store, request.run_id, after, follow=request.follow):
            yield self._pages.message(request.run_id, events)

    @streaming
    async def WatchEvents(  # noqa: N802
        self, request: runs_pb2.WatchEventsRequest
    ) -> AsyncIterator[runs_pb2.WatchEventsResponse]:
        project = self._engine.catalog.project(request.project).id
        after = cursor("after_position", request.after_position) if request.HasField("after_position") else None
        wanted = EventFilter(frozenset(request.event_types), frozenset(request.targets))
        async for events, position in project_events(self._store, project, after, wanted):
            yield runs_pb2.WatchEventsResponse(data=map(watched_message, events), position=position)

    @answering
    async def ListArtifacts(  # noqa: N802
        self, request: runs_pb2.ListArtifactsRequest
    ) -> runs_pb2.ListArtifactsResponse:
        limit = page_limit(request.limit, MAX_PAGE)
        after = name_from_token(ARTIFACTS, request.page_token)
        found = await self._store.queries.artifacts(request.run_id, after, limit + 1)
        page = found[:limit]
        info = run_pb2.PageInfo(
            self=request.page_token, next=name_token(ARTIFACTS, page[-1].name) if found[limit:] else ""
        )
        return runs_pb2.ListArtifactsResponse(data=map(artifact_message, page), page_info=info)

    @streaming
    async def ReadArtifact(  # noqa: N802
        self, request: runs_pb2.ReadArtifactRequest
    ) -> AsyncIterator[runs_pb2.ReadArtifactResponse]:
        async for data in read_artifact(self._store, request.run_id, request.name, request.offset):
            yield runs_pb2.ReadArtifactResponse(data=data)


def _created(created: Created) -> runs_pb2.CreateRunResponse:
    return runs_pb2.CreateRunResponse(accepted=True, duplicate=created.duplicate, run=record_message(created.record))


def _created_without_documents(created: Created) -> runs_pb2.CreateRunResponse:
    """A thousand runs with their documents would be more than a client takes."""
    return runs_pb2.CreateRunResponse(accepted=True, duplicate=created.duplicate, run=run_message(created.record.run))


def _event_page_info(page: EventPage, after: int, limit: int) -> run_pb2.PageInfo:
    """Tokens are the `after_event_id` to send; `next` is given as long as more may come."""
    last = page.events[-1].event_id if page.events else after
    return run_pb2.PageInfo(
        self=str(after),
        first="0",
        next="" if page.ended else str(last),
        prev=str(max(after - limit, 0)) if after > 0 else "",
    )
