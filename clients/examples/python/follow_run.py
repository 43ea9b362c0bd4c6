"""Creates a run and prints its events up to the last, with nothing but gRPC and the generated stubs."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
from runs.v1 import run_pb2, runs_pb2, runs_pb2_grpc

TERMINAL = {"run.completed", "run.failed", "run.cancelled"}


def follow(runs: Any, run_id: str) -> Iterator[Any]:
    """Every event once and in order: when the stream breaks, the last event seen says where to go on."""
    seen = 0
    while True:
        request = runs_pb2.EventsRequest(run_id=run_id, after_event_id=seen, follow=True)
        try:
            for page in runs.Events(request, wait_for_ready=True):
                for event in page.data:
                    seen = event.event_id
                    yield event
                    if event.event_type in TERMINAL:
                        return
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


def main(address: str, target: str, input_json: str = "") -> int:
    with grpc.insecure_channel(address) as channel:
        runs = runs_pb2_grpc.RunsStub(channel)
        # The key makes it safe to send the request again when no answer came.
        request = runs_pb2.CreateRunRequest(target=target, input_json=input_json, idempotency_key=uuid.uuid4().hex)
        run_id = runs.CreateRun(request, timeout=30).run.run_id
        for event in follow(runs, run_id):
            print(event.event_id, event.event_type, event.payload_json, flush=True)
        run = runs.GetRun(runs_pb2.GetRunRequest(run_id=run_id), timeout=30).run
    print(run_pb2.RunStatus.Name(run.status), run.output_json)
    return 0 if run.status == run_pb2.RUN_STATUS_COMPLETED else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: follow_run.py ADDRESS TARGET [INPUT]")
    sys.exit(main(*sys.argv[1:]))
