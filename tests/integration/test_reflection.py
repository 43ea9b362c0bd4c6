"""A client that has nothing but the server: reflection tells it the contract."""

from __future__ import annotations

import json
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.integration.daemon import Daemon


class ReflectedClient:
    """Calls methods by name with JSON values, as a generic command-line client does."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._database = ProtoReflectionDescriptorDatabase(channel)
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        return sorted(self._database.get_services())

    def call(self, service: str, method: str, request: dict[str, Any]) -> Any:
        described = self._pool.FindServiceByName(service).FindMethodByName(method)
        request_class, response_class = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        kind = self._channel.unary_stream if described.server_streaming else self._channel.unary_unary
        invoke = kind(
            f"/{service}/{method}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=response_class.FromString,
        )
        answer: Any = invoke(ParseDict(request, request_class()), timeout=30)
        if described.server_streaming:
            return [_value(message) for message in answer]
        return _value(answer)


def _value(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def test_a_run_by_reflection_alone(daemon: Daemon) -> None:
    with grpc.insecure_channel(daemon.address) as channel:
        client = ReflectedClient(channel)
        assert {"runs.v1.Runs", "runs.v1.Definitions", "grpc.health.v1.Health"} <= set(client.services())
        created = client.call("runs.v1.Runs", "CreateRun", {"target": "task:echo", "input_json": '{"a": 1}'})
        run_id = created["run"]["run_id"]
        assert created["accepted"]
        pages = client.call("runs.v1.Runs", "Events", {"run_id": run_id, "follow": True})
        events = [event for page in pages for event in page["data"]]
        assert [int(event["event_id"]) for event in events] == list(range(1, len(events) + 1))
        assert events[-1]["event_type"] == "run.completed"
        run = client.call("runs.v1.Runs", "GetRun", {"run_id": run_id})["run"]
        assert run["status"] == "RUN_STATUS_COMPLETED"
        assert json.loads(run["output_json"]) == {"a": 1}
        targets = client.call("runs.v1.Definitions", "ListTargets", {})["data"]
        assert "task:echo" in {target["target"] for target in targets}


def test_health(daemon: Daemon) -> None:
    with grpc.insecure_channel(daemon.address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        for service in ("", "runs.v1.Runs", "runs.v1.Definitions"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
