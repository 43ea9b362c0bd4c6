"""The Definitions service."""

from __future__ import annotations

from runsd_client.proto import definitions_pb2, definitions_pb2_grpc

from runsd.api.conversion import problem_message, target_message
from runsd.api.errors import answering
from runsd.engine.engine import Engine
from runsd.model.targets import Project


class Definitions(definitions_pb2_grpc.DefinitionsServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @answering
    async def ListTargets(  # noqa: N802
        self, request: definitions_pb2.ListTargetsRequest
    ) -> definitions_pb2.ListTargetsResponse:
        project = self._engine.catalog.project(request.project)
        return definitions_pb2.ListTargetsResponse(
            data=_targets(project), problems=map(problem_message, project.own_problems())
        )

    @answering
    async def GetTarget(  # noqa: N802
        self, request: definitions_pb2.GetTargetRequest
    ) -> definitions_pb2.GetTargetResponse:
        definition = self._engine.catalog.described(request.project, request.target)
        return definitions_pb2.GetTargetResponse(target=target_message(definition))

    @answering
    async def Reload(self, request: definitions_pb2.ReloadRequest) -> definitions_pb2.ReloadResponse:  # noqa: N802
        project = await self._engine.reload(request.project)
        return definitions_pb2.ReloadResponse(
            data=_targets(project), problems=map(problem_message, project.all_problems())
        )


def _targets(project: Project) -> list[definitions_pb2.Target]:
    return [target_message(project.definitions[name]) for name in sorted(project.definitions)]
