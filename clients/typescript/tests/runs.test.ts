/** Each call against a real daemon. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import {
  AlreadyExistsError,
  InvalidRequestError,
  NotFoundError,
  PermissionDeniedError,
  PreconditionError,
  WaitTimeoutError,
  type RunsClient,
} from "runsd-client";

import { Daemon } from "./daemon.js";

let daemon: Daemon;
let runs: RunsClient;
before(async () => {
  daemon = await Daemon.started();
  runs = daemon.client();
});
after(() => daemon?.stop());

test("the record comes back as it was asked for", async () => {
  const { accepted, duplicate, run } = await runs.createTaskRun({
    projectId: "22222222-2222-4222-8222-222222222222",
    target: "task:echo",
    name: "All options",
    input: { deep: [1, 2.5, null, "ü\u2028"] },
    config: "text",
    metadata: { team: "blue", __proto__: 1 },
    timeoutSeconds: 12.5,
    backoffLimit: 0,
    idempotencyKey: "all-options",
    priority: 7,
    batchId: "a-batch",
    triggerKind: "manual",
    triggerId: "by hand",
    createdBy: "a test",
  });
  assert.deepEqual({ accepted, duplicate }, { accepted: true, duplicate: false });
  const ended = await runs.wait(run.run_id);
  assert.equal(ended.status, "completed");
  assert.deepEqual(ended.output, { deep: [1, 2.5, null, "ü\u2028"] });
  assert.equal(ended.config, "text");
  assert.equal(ended.metadata["team"], "blue");
  assert.deepEqual(
    [ended.name, ended.timeout_seconds, ended.backoff_limit, ended.priority, ended.batch_id, ended.trigger_kind],
    ["All options", 12.5, 0, 7, "a-batch", "manual"],
  );
  assert.equal(ended.exit_code, 0);
  assert.match(ended.completed_at ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/);
  assert.ok(Math.abs(Date.parse(ended.created_at ?? "") - Date.now()) < 60_000);
  assert.equal(run.started_at, null);
});

test("integers beyond 2^53 keep their digits, there and back", async () => {
  const input = { id: 9223372036854775807n, small: 1, text: "9223372036854775807", list: [-(2n ** 70n), 0.1] };
  const { run } = await runs.createTaskRun({ target: "task:echo", input });
  assert.deepEqual((await runs.wait(run.run_id)).output, input);
  const completed = (await runs.events(run.run_id)).data.at(-1);
  assert.deepEqual(completed?.payload["output"], input);
});

test("the same idempotency key makes one run", async () => {
  const idempotencyKey = randomUUID();
  const order = { target: "task:echo", input: 1, idempotencyKey };
  const answers = await Promise.all([1, 2, 3].map(() => runs.createTaskRun(order)));
  assert.equal(new Set(answers.map((answer) => answer.run.run_id)).size, 1);
  assert.equal(answers.filter((answer) => answer.duplicate).length, 2);
  await assert.rejects(runs.createTaskRun({ ...order, input: 2 }), AlreadyExistsError);
});

test("a batch makes all of its runs or none", async () => {
  const batchId = randomUUID();
  const orders = Array.from({ length: 100 }, (_none, input) => ({ target: "task:echo", input, batchId }));
  const answers = await runs.batchCreate(orders, { projectId: "22222222-2222-4222-8222-222222222222" });
  assert.equal(new Set(answers.map(({ run }) => run.idempotency_key)).size, 100);
  const { data } = await runs.list({ batchId, limit: 1000 });
  assert.deepEqual(
    answers.map(({ run }) => run.run_id),
    data.map((run) => run.run_id).reverse(),
  );
  assert.equal((await runs.wait(answers[42]!.run.run_id)).output, 42);

  const wrong = [{ target: "task:echo", batchID: "a" }, { target: "task:echo" }, { target: 7, priority: 0.5 }];
  await assert.rejects(runs.batchCreate(wrong as never), (error: unknown) => {
    assert.ok(error instanceof InvalidRequestError);
    assert.deepEqual(
      error.violations.map(({ field }) => field),
      ["requests[0].batchID", "requests[2].target", "requests[2].priority"],
    );
    return true;
  });
  await assert.rejects(runs.batchCreate(orders, { projectId: "nowhere" }), NotFoundError);
  await assert.rejects(
    runs.batchCreate([{ target: "task:echo", projectId: "nowhere" }]),
    (error: unknown) => error instanceof InvalidRequestError && error.violations[0]?.field === "requests[0].project",
  );
});

test("pages stay right while runs are added", async () => {
  const batchId = randomUUID();
  const add = async (): Promise<string> =>
    (await runs.createTaskRun({ target: "task:echo", batchId, startAfterSeconds: 3600 })).run.run_id;
  const old: string[] = [];
  for (let count = 0; count < 7; count += 1) old.push(await add());
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await runs.list({ batchId, limit: 2, cursor });
    seen.push(...page.data.map((run) => run.run_id));
    cursor = page.page_info.next;
    await add();
  } while (cursor);
  assert.deepEqual(seen, old.reverse());
  const { data } = await runs.list({ batchId, statuses: ["pending"], createdFrom: new Date(Date.now() - 60_000) });
  assert.equal(data.length, 11);
  for (const run of data) await runs.cancel(run.run_id);
});

test("events come in pages", async () => {
  const { run } = await runs.createTaskRun({ target: "task:sync-data" });
  await runs.wait(run.run_id);
  const all = (await runs.events(run.run_id)).data;
  const first = await runs.events(run.run_id, { limit: 2 });
  const rest = await runs.events(run.run_id, { afterEventId: Number(first.page_info.next) });
  assert.deepEqual([...first.data, ...rest.data], all);
  assert.equal(rest.page_info.next, "");
});

test("cancel ends a run, once", async () => {
  const { run } = await runs.createTaskRun({ target: "task:sleeps" });
  await assert.rejects(
    runs.wait(run.run_id, { timeoutSeconds: 0.05 }),
    (error: unknown) => error instanceof WaitTimeoutError && error.run?.run_id === run.run_id,
  );
  assert.equal((await runs.cancel(run.run_id, { reason: "a test" })).cancelled, true);
  assert.equal((await runs.wait(run.run_id, { timeoutSeconds: 30 })).status, "cancelled");
  assert.equal((await runs.cancel(run.run_id)).cancelled, false);
});

test("a failed run says why, and may be tried again", async () => {
  const { run } = await runs.createTaskRun({ target: "task:fails" });
  const failed = await runs.wait(run.run_id);
  assert.deepEqual([failed.status, failed.error?.code, failed.exit_code], ["failed", "exit_code", 3]);
  assert.match(failed.logs, /no luck/);
  const again = await runs.retry(run.run_id);
  assert.equal(again.run.retry_of_run_id, run.run_id);
  assert.equal((await runs.wait(again.run.run_id)).status, "failed");
});

test("signals and decisions reach a workflow", async () => {
  const { run } = await runs.createWorkflowRun({ workflowId: "publishing" });
  await assert.rejects(runs.createWorkflowRun({ workflowId: "a", target: "workflow:b" }), InvalidRequestError);
  const signalled = await runs.signal(run.run_id, "go", { count: 2n ** 60n }, { idempotencyKey: "once" });
  assert.equal(signalled.duplicate, false);
  assert.equal((await runs.signal(run.run_id, "go", { count: 2n ** 60n }, { idempotencyKey: "once" })).duplicate, true);
  for await (const event of runs.follow(run.run_id)) if (event.event_type === "approval.requested") break;
  await assert.rejects(runs.approve(run.run_id, "review", { by: "eve", data: { grade: 1 } }), PermissionDeniedError);
  await assert.rejects(runs.approve(run.run_id, "review", { by: "ann", data: {} }), InvalidRequestError);
  await runs.approve(run.run_id, "review", { by: "ann", comment: "good", data: { grade: 1 } });
  const ended = await runs.wait(run.run_id, { timeoutSeconds: 30 });
  assert.equal(ended.status, "completed", JSON.stringify(ended.error));
  assert.deepEqual(
    ended.steps.map((step) => [step.step_id, step.kind, step.state]),
    [
      ["go", "signal", "completed"],
      ["review", "approval", "completed"],
    ],
  );
  assert.deepEqual(ended.steps[0]?.output, { count: 2n ** 60n });

  const other = await runs.createWorkflowRun({ target: "workflow:publishing" });
  await runs.signal(other.run.run_id, "go");
  for await (const event of runs.follow(other.run.run_id)) if (event.event_type === "approval.requested") break;
  await runs.reject(other.run.run_id, "review", { by: "ann", data: { grade: 6 } });
  assert.equal((await runs.wait(other.run.run_id)).error?.code, "rejected");
  await assert.rejects(runs.signal(other.run.run_id, "go"), PreconditionError);
});

test("artifacts are listed and read", async () => {
  const { run } = await runs.createTaskRun({ target: "task:sync-data" });
  await runs.wait(run.run_id);
  const { data } = await runs.artifacts.list(run.run_id);
  assert.deepEqual(
    data.map((artifact) => [artifact.name, artifact.size_bytes]),
    [["notes/report.txt", 11]],
  );
  const pieces: Uint8Array[] = [];
  for await (const piece of runs.artifacts.read(run.run_id, "notes/report.txt")) pieces.push(piece);
  assert.equal(Buffer.concat(pieces).toString(), "an artifact");
  await assert.rejects(runs.artifacts.read(run.run_id, "no.txt").next(), NotFoundError);
});

test("targets are listed, found and reloaded", async () => {
  const { data: targets } = await runs.targets.list();
  assert.ok(targets.some((target) => target.target === "workflow:content-pipeline" && target.kind === "workflow"));
  const checked = await runs.targets.get("task:checked");
  assert.deepEqual((checked.input_schema as { required: string[] }).required, ["n"]);
  await assert.rejects(runs.targets.get("task:sync-dta"), /sync-data/);
  const reloaded = await runs.targets.reload();
  assert.deepEqual([reloaded.data.length, reloaded.problems], [targets.length, []]);
});

test("errors name the fields at fault", async () => {
  const fields = (error: unknown): string[] =>
    error instanceof InvalidRequestError ? error.violations.map((violation) => violation.field) : [];
  const refused = async (call: Promise<unknown>, ...expected: string[]): Promise<void> =>
    assert.rejects(call, (error: unknown) => {
      assert.deepEqual(fields(error), expected);
      return true;
    });
  await refused(runs.createTaskRun({ target: "task:checked", input: { n: "one" } }), "input_json");
  await refused(
    runs.createTaskRun({ target: "task:echo", priority: 5000, backoffLimit: -1 }),
    "priority",
    "backoff_limit",
  );
  await refused(runs.createTaskRun({ target: "workflow:publishing" }), "target");
  await refused(runs.createTaskRun({ target: "task:echo", input: NaN, priority: 0.5 }), "input_json", "priority");
  await refused(runs.createTaskRun({ target: "task:echo", timeoutSecs: 1 } as never), "timeoutSecs");
  await refused(runs.list({ statuses: ["done" as never] }), "statuses");
  await assert.rejects(
    runs.get("no-such-run"),
    (error: unknown) => error instanceof NotFoundError && error.reason !== "",
  );
  await assert.rejects(runs.createTaskRun({ target: "task:ech" }), NotFoundError);
});
