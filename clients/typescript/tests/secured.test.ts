/** TLS and tokens, against a bare gRPC server that insists on both. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { ConfigurationError, createRunsClient, UnreachableError, type RunsClientOptions } from "runsd-client";

const TOKEN = "a-token";
const directory = mkdtempSync(join(tmpdir(), "runsd-ts-tls-"));
let server: grpc.Server;
let port: number;
let ca: Buffer;

const bytes = (value: Buffer): Buffer => value;
const LIST_TARGETS = {
  path: "/runs.v1.Definitions/ListTargets",
  requestStream: false,
  responseStream: false,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
} as const;
// Never answered.
const GET_TARGET = { ...LIST_TARGETS, path: "/runs.v1.Definitions/GetTarget" } as const;

before(async () => {
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const subject = ["-subj", "/CN=runsd.test", "-addext", "subjectAltName=DNS:runsd.test"];
  const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  execFileSync("openssl", ["req", ...kind, "-keyout", key, "-out", cert, ...subject], { stdio: "pipe" });
  ca = readFileSync(cert);
  server = new grpc.Server();
  server.addService({ listTargets: LIST_TARGETS, getTarget: GET_TARGET }, { listTargets, getTarget: () => {} });
  const pair = { private_key: readFileSync(key), cert_chain: ca };
  const bind = promisify(server.bindAsync.bind(server)) as (at: string, how: grpc.ServerCredentials) => Promise<number>;
  port = await bind("127.0.0.1:0", grpc.ServerCredentials.createSsl(null, [pair]));
});
after(() => {
  server.forceShutdown();
  rmSync(directory, { recursive: true });
});

/** An empty answer for whoever has the token. */
function listTargets(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>): void {
  const [authorization] = call.metadata.get("authorization");
  if (authorization === `Bearer ${TOKEN}`) answer(null, Buffer.alloc(0));
  else answer({ code: grpc.status.UNAUTHENTICATED, details: `no token but ${authorization}` });
}

async function list(options: RunsClientOptions): Promise<unknown[]> {
  const runs = createRunsClient({ address: `127.0.0.1:${port}`, retry: false, ...options });
  try {
    return (await runs.targets.list({ deadlineSeconds: 5 })).data;
  } finally {
    runs.close();
  }
}

test("a token goes over TLS to a daemon whose certificate is trusted", async () => {
  assert.deepEqual(await list({ authToken: TOKEN, tls: { ca, serverName: "runsd.test" } }), []);
});

test("a wrong token, a stranger's certificate, and no TLS are refused", async () => {
  const tls = { ca, serverName: "runsd.test" };
  await assert.rejects(list({ authToken: "wrong", tls }), ConfigurationError);
  await assert.rejects(list({ authToken: TOKEN, tls: true }), /certificate/);
  await assert.rejects(list({ authToken: TOKEN, tls: { ca } }), UnreachableError);
  await assert.rejects(list({ authToken: TOKEN }), UnreachableError);
  await assert.rejects(list({ tls: { ca: "no pem", key: "x", cert: "y" } }), ConfigurationError);
});

test("a call that is not answered ends by its deadline or its signal", async () => {
  const runs = createRunsClient({ address: `127.0.0.1:${port}`, tls: { ca, serverName: "runsd.test" } });
  await assert.rejects(runs.targets.get("task:a", { deadlineSeconds: 0.2 }), { code: "DEADLINE_EXCEEDED" });
  await assert.rejects(runs.targets.get("task:a", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  const abort = new AbortController();
  const warnings: Error[] = [];
  process.on("warning", (warning) => warnings.push(warning));
  const calls = Array.from({ length: 20 }, () => runs.targets.get("task:a", { signal: abort.signal }));
  setImmediate(() => abort.abort(new Error("enough")));
  for (const ended of await Promise.allSettled(calls)) assert.equal(ended.status, "rejected");
  assert.deepEqual(warnings, []);
  runs.close();
});

test("the token of the environment is not sent to an address that the caller chose", async () => {
  const tls = { ca, serverName: "runsd.test" };
  process.env["RUNSD_API_TOKEN"] = TOKEN;
  process.env["RUNSD_ADDRESS"] = `127.0.0.1:${port}`;
  try {
    await assert.rejects(list({ tls }), /no token but undefined; set RUNSD_API_TOKEN/);
    assert.deepEqual(await list({ address: undefined, tls }), []);
  } finally {
    delete process.env["RUNSD_API_TOKEN"];
    delete process.env["RUNSD_ADDRESS"];
  }
});
