// Creates a run and prints its events up to the last, with nothing but gRPC and the .proto files.
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const PROTO = fileURLToPath(new URL("../../../proto", import.meta.url));
const TERMINAL = ["run.completed", "run.failed", "run.cancelled"];

function connect(address) {
  // Names as the contract has them; 64-bit ids as numbers, which they fit; enums by name.
  const options = { includeDirs: [PROTO], keepCase: true, longs: Number, enums: String, defaults: true };
  const { Runs } = grpc.loadPackageDefinition(loadSync("runs/v1/runs.proto", options)).runs.v1;
  return new Runs(address, grpc.credentials.createInsecure());
}

// Every event once and in order: when the stream breaks, the last event seen says where to go on.
async function* follow(runs, runId) {
  let seen = 0;
  for (;;) {
    const request = { run_id: runId, after_event_id: seen, follow: true };
    try {
      for await (const page of runs.Events(request, new grpc.Metadata({ waitForReady: true }))) {
        for (const event of page.data) {
          seen = event.event_id;
          yield event;
          if (TERMINAL.includes(event.event_type)) return;
        }
      }
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE) throw error;
    }
  }
}

async function main(address, target, input_json = "") {
  const runs = connect(address);
  const call = (method, request) => promisify(runs[method].bind(runs))(request);
  // The key makes it safe to send the request again when no answer came.
  const created = await call("CreateRun", { target, input_json, idempotency_key: randomUUID() });
  const { run_id } = created.run;
  for await (const event of follow(runs, run_id)) console.log(event.event_id, event.event_type, event.payload_json);
  const { run } = await call("GetRun", { run_id });
  console.log(run.status, run.output_json);
  runs.close();
  return run.status === "RUN_STATUS_COMPLETED" ? 0 : 1;
}

const [, , ...options] = process.argv;
if (options.length < 2 || options.length > 3) {
  console.error("usage: node follow-run.mjs ADDRESS TARGET [INPUT]");
  process.exitCode = 1;
} else {
  process.exitCode = await main(...options);
}
