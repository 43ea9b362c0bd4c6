/** A subscriber gets every event once, in order, whatever becomes of the daemon. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { InvalidRequestError, UnreachableError, type RunEvent, type WatchedEvent } from "runsd-client";

import { Daemon } from "./daemon.js";

const KILLS = 10;
const QUICK = { initialSeconds: 0.02, maxSeconds: 0.2 };

let daemon: Daemon;
before(async () => (daemon = await Daemon.started()));
after(() => daemon?.stop());

test("follow yields every event once and in order over SIGKILLs of the daemon", async () => {
  const runs = daemon.client({ retry: QUICK });
  const end = join(daemon.directory, "end");
  const { run } = await runs.createTaskRun({ target: "task:counts", config: { until: end } });
  const followed: RunEvent[] = [];
  let kills = 0;
  for await (const event of runs.follow(run.run_id)) {
    followed.push(event);
    // Each life of the daemon shows something live before it ends.
    if (event.event_type === "log" && kills < KILLS && followed.length % 3 === 0) {
      kills += 1;
      await daemon.kill();
      await daemon.start();
    } else if (kills === KILLS) {
      writeFileSync(end, "");
    }
  }
  assert.equal(kills, KILLS);
  assert.deepEqual(
    followed.map((event) => event.event_id),
    followed.map((_event, index) => index + 1),
  );
  assert.equal(followed.at(-1)?.event_type, "run.completed");

  const lines = followed
    .map((event) => event.payload["text"] ?? "")
    .join("")
    .trimEnd()
    .split("\n");
  assert.equal(lines.pop(), "the end");
  assert.deepEqual(
    lines,
    lines.map((_line, index) => `${index + 1}`),
  );

  const later: RunEvent[] = [];
  for await (const event of runs.follow(run.run_id, { afterEventId: 5 })) later.push(event);
  assert.deepEqual(later, followed.slice(5));
});

test("watch yields every event of a project once and in order over SIGKILLs of the daemon", async () => {
  const runs = daemon.client({ retry: QUICK });
  const end = join(daemon.directory, "end-of-watch");
  const order = { target: "task:counts", config: { until: end } };
  const started = await runs.batchCreate([order, order]);
  const open = new Set(started.map(({ run }) => run.run_id));
  const seen: WatchedEvent[] = [];
  let kills = 0;
  for await (const watched of runs.watch({ afterPosition: 0, targets: ["task:counts"] })) {
    if (!started.some(({ run }) => run.run_id === watched.run_id)) continue;
    seen.push(watched);
    if (watched.event.event_type === "log" && kills < KILLS) {
      kills += 1;
      await daemon.kill();
      await daemon.start();
    } else if (kills === KILLS) {
      writeFileSync(end, "");
    }
    if (watched.event.event_type === "run.completed") open.delete(watched.run_id);
    if (open.size === 0) break;
  }
  assert.equal(kills, KILLS);
  for (const { run } of started) {
    const events: RunEvent[] = [];
    for await (const event of runs.follow(run.run_id)) events.push(event);
    const watched = seen.filter(({ run_id }) => run_id === run.run_id);
    assert.deepEqual(
      watched.map(({ event }) => event),
      events,
    );
  }
  const positions = seen.map(({ position }) => position);
  assert.deepEqual(
    positions,
    [...new Set(positions)].sort((a, b) => a - b),
  );
});

test("watch begins with what comes, ends by an abort, and refuses what it does not know", async () => {
  const runs = daemon.client();
  const old = (await runs.createTaskRun({ target: "task:echo" })).run.run_id;
  await runs.wait(old);
  const [abort, reason] = [new AbortController(), new Error("enough")];
  const stream = runs.watch({ eventTypes: ["run.created"], targets: ["task:echo"], signal: abort.signal });
  let came = false;
  const first = stream.next().finally(() => (came = true));
  // Nothing tells when a stream from now on has begun, so runs are made until it shows one.
  do await runs.wait((await runs.createTaskRun({ target: "task:echo" })).run.run_id);
  while (!came);
  assert.notEqual((await first).value?.run_id, old);
  setImmediate(() => abort.abort(reason));
  await assert.rejects(async () => {
    for await (const watched of stream) assert.equal(watched.target, "task:echo");
  }, reason);
  await assert.rejects(runs.watch({ after: 1 } as never).next(), InvalidRequestError);
  await assert.rejects(runs.watch({ afterPosition: 2 ** 50 }).next(), InvalidRequestError);
});

test("wait goes on while the daemon is away", async () => {
  const reconnecting = withResolvers();
  // The first call may be the one that finds nobody.
  const runs = daemon.client({ retry: { ...QUICK, retries: 1000 }, onRetry: () => reconnecting.resolve() });
  const end = join(daemon.directory, "end-of-wait");
  const { run } = await runs.createTaskRun({ target: "task:counts", config: { until: end } });
  const waiting = runs.wait(run.run_id, { timeoutSeconds: 60 });
  await daemon.kill();
  await reconnecting.promise;
  writeFileSync(end, "");
  await daemon.start();
  assert.equal((await waiting).status, "completed");
});

test("an artifact is read to its end though the daemon dies in the middle", async () => {
  const runs = daemon.client({ retry: QUICK });
  const { run } = await runs.createTaskRun({ target: "task:large-file" });
  await runs.wait(run.run_id);
  const [artifact] = (await runs.artifacts.list(run.run_id)).data;
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of runs.artifacts.read(run.run_id, "large")) {
    // More is to come than can be under way.
    if (bytes === 0) await daemon.kill().then(() => daemon.start());
    hash.update(piece);
    bytes += piece.length;
  }
  assert.equal(bytes, artifact?.size_bytes);
  assert.equal(hash.digest("hex"), artifact?.sha256);
});

test("a long log comes whole", async () => {
  const runs = daemon.client();
  const { run } = await runs.createTaskRun({ target: "task:talks" });
  let text = "";
  for await (const event of runs.follow(run.run_id)) text += event.payload["text"] ?? "";
  assert.deepEqual(
    text.trimEnd().split("\n"),
    Array.from({ length: 20_000 }, (_none, index) => `line ${index}`),
  );
});

test("a stream ends by an abort, with the signal's reason", async () => {
  const runs = daemon.client();
  const { run } = await runs.createTaskRun({ target: "task:sleeps" });
  const abort = new AbortController();
  const reason = new Error("enough");
  await assert.rejects(async () => {
    for await (const event of runs.follow(run.run_id, { signal: abort.signal })) {
      if (event.event_type === "run.started") setImmediate(() => abort.abort(reason));
    }
  }, reason);
  await runs.cancel(run.run_id);
});

test("a stream may be left, and a client closed", async () => {
  const runs = daemon.client();
  const { run } = await runs.createTaskRun({ target: "task:sleeps" });
  for await (const event of runs.follow(run.run_id)) if (event.event_type === "run.started") break;
  const waiting = runs.wait(run.run_id);
  await runs.get(run.run_id);
  runs.close();
  await assert.rejects(waiting, { reason: "CLIENT_CLOSED" });
  await assert.rejects(runs.get(run.run_id), { reason: "CLIENT_CLOSED" });
  await daemon.client().cancel(run.run_id);
});

test("no daemon is an error after as many tries as the policy allows", async () => {
  const failures: unknown[] = [];
  const address = `unix:${daemon.directory}/nobody.sock`;
  const runs = daemon.client({ address, retry: { ...QUICK, retries: 2 }, onRetry: (error) => failures.push(error) });
  await assert.rejects(runs.list(), (error: unknown) => error instanceof UnreachableError && error.address === address);
  assert.equal(failures.length, 2);
  await assert.rejects(runs.list({ signal: AbortSignal.abort("no") }), (reason) => reason === "no");
});

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}
