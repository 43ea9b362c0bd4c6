/** What is made again, against a bare gRPC server that fails as it is told. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { createRunsClient, OverloadedError, PreconditionError, type RunsClient } from "runsd-client";

import { CreateRunRequest, RunsService, type CreateRunResponse } from "../dist/generated/runs/v1/runs.js";

const received: CreateRunRequest[] = [];
const failures: grpc.status[] = [];
let server: grpc.Server;
let runs: RunsClient;

before(async () => {
  server = new grpc.Server();
  server.addService({ createRun: RunsService.createRun }, { createRun });
  const bind = promisify(server.bindAsync.bind(server)) as (at: string, how: grpc.ServerCredentials) => Promise<number>;
  const port = await bind("127.0.0.1:0", grpc.ServerCredentials.createInsecure());
  runs = createRunsClient({ address: `127.0.0.1:${port}`, retry: { initialSeconds: 0.01 } });
});
after(() => {
  runs?.close();
  server.forceShutdown();
});

function createRun(
  call: grpc.ServerUnaryCall<CreateRunRequest, CreateRunResponse>,
  answer: grpc.sendUnaryData<CreateRunResponse>,
): void {
  received.push(call.request);
  const code = failures.shift();
  if (code === undefined) answer(null, { accepted: true, duplicate: false, run: undefined });
  else answer({ code, details: "as told" });
}

async function create(...told: grpc.status[]): Promise<CreateRunRequest[]> {
  received.length = 0;
  failures.splice(0, Infinity, ...told);
  await runs.createTaskRun({ target: "task:a" });
  return received;
}

test("a create is made again with the key that it had", async () => {
  const { UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED } = grpc.status;
  const [first, ...others] = await create(UNAVAILABLE, RESOURCE_EXHAUSTED, CANCELLED);
  assert.match(first?.idempotency_key ?? "", /^[0-9a-f]{32}$/);
  assert.deepEqual(others, [first, first, first]);
  const [next] = await create();
  assert.notEqual(next?.idempotency_key, first?.idempotency_key);
});

test("keys stand in order of time", async () => {
  const began = Date.now();
  const [sent] = await create();
  const made = parseInt(sent?.idempotency_key.slice(0, 12) ?? "", 16);
  assert.ok(began <= made && made <= Date.now());
});

test("no more than three times, and not after a refusal", async () => {
  const { RESOURCE_EXHAUSTED, FAILED_PRECONDITION } = grpc.status;
  await assert.rejects(create(...Array<grpc.status>(5).fill(RESOURCE_EXHAUSTED)), OverloadedError);
  assert.equal(received.length, 4);
  await assert.rejects(create(FAILED_PRECONDITION), PreconditionError);
  assert.equal(received.length, 1);
});
