/** Each call of schedules against a real daemon. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import {
  AlreadyExistsError,
  ConflictError,
  InvalidRequestError,
  NotFoundError,
  type NewSchedule,
  type Run,
  type RunsClient,
} from "runsd-client";

import { Daemon } from "./daemon.js";

const PROJECT = "22222222-2222-4222-8222-222222222222";
// Due once a year, so that nothing comes of itself.
const YEARLY = { target: "task:echo", cron: "0 0 1 1 *" };

let daemon: Daemon;
let runs: RunsClient;
before(async () => {
  daemon = await Daemon.started();
  runs = daemon.client();
});
after(() => daemon?.stop());

async function refused(call: Promise<unknown>, ...expected: string[]): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    assert.ok(error instanceof InvalidRequestError, String(error));
    assert.deepEqual(
      error.violations.map(({ field }) => field),
      expected,
    );
    return true;
  });
}

test("a schedule comes back as it was asked for", async () => {
  const asked: NewSchedule = {
    projectId: PROJECT,
    scheduleId: "imports/nightly",
    target: "task:echo",
    cron: "30 2 * * mon-fri",
    timezone: "Europe/Stockholm",
    startAt: new Date("2027-01-01T00:00:00Z"),
    endAt: "2037-01-01T01:00:00.123456+01:00",
    description: "all of it",
    runName: "Nightly",
    input: { n: 2n ** 60n },
    config: [1.5, null],
    metadata: { team: "a" },
    priority: -3,
    timeoutSeconds: 0,
    backoffLimit: 0,
    concurrencyPolicy: "Forbid" as "forbid",
    catchUp: "ALL" as "all",
    catchUpWindowSeconds: 7200,
    jitterSeconds: 1.5,
    maxRuns: 2 ** 39,
    maxStalenessSeconds: 90,
    paused: true,
  };
  const { duplicate, schedule } = await runs.schedules.create(asked);
  assert.equal(duplicate, false);
  assert.deepEqual(schedule.spec, {
    target: "task:echo",
    cron: "30 2 * * mon-fri",
    timezone: "Europe/Stockholm",
    at: null,
    every_seconds: null,
    anchor: null,
    start_at: "2027-01-01T00:00:00.000Z",
    end_at: "2037-01-01T00:00:00.123456Z",
    description: "all of it",
    run_name: "Nightly",
    input: { n: 2n ** 60n },
    config: [1.5, null],
    metadata: { team: "a" },
    priority: -3,
    timeout_seconds: 0,
    backoff_limit: 0,
    concurrency_policy: "forbid",
    catch_up: "all",
    catch_up_window_seconds: 7200,
    jitter_seconds: 1.5,
    max_runs: 2 ** 39,
    max_staleness_seconds: 90,
  });
  const { spec: _spec, etag, created_at, updated_at, ...rest } = schedule;
  assert.deepEqual(rest, {
    project: PROJECT,
    schedule_id: "imports/nightly",
    source: "",
    paused: true,
    pause_reason: "",
    health: "healthy",
    next: [],
    last_run_id: "",
    last_scheduled_for: null,
    last_success_run_id: "",
    last_success_at: null,
    runs_made: 0,
    active_runs: 0,
    queued: 0,
    skipped: 0,
    skips: [],
    problems: [],
  });
  assert.ok(etag);
  assert.match(created_at ?? "", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$/);
  assert.equal(updated_at, created_at);
  assert.deepEqual(await runs.schedules.get("imports/nightly", { projectId: PROJECT }), schedule);
  assert.equal((await runs.schedules.create(asked)).duplicate, true);
  await assert.rejects(runs.schedules.create({ ...asked, priority: 4 }), AlreadyExistsError);
  await runs.schedules.delete("imports/nightly");
});

test("each occurrence has one run, which knows it", async () => {
  await runs.schedules.create({ scheduleId: "seconds", target: "task:echo", everySeconds: 1, runName: "tick" });
  const made: Run[] = [];
  for await (const { run_id, event, schedule_id } of runs.watch({ afterPosition: 0, eventTypes: ["run.created"] })) {
    assert.equal(schedule_id, "");
    if (event.payload["schedule_id"] === "seconds") made.push(await runs.get(run_id));
    if (made.length === 2) break;
  }
  assert.equal((await runs.schedules.pause("seconds", { reason: "enough" })).pause_reason, "enough");
  const [first, second] = made.map((run) => Date.parse(run.scheduled_for ?? ""));
  assert.equal(second, first! + 1000);
  for (const run of made) {
    assert.deepEqual([run.schedule_id, run.trigger_kind, run.name], ["seconds", "schedule", "tick"]);
  }
  const { data } = await runs.list({ scheduleId: "seconds" });
  assert.deepEqual(
    data.slice(-2).map((run) => run.run_id),
    made.map((run) => run.run_id).reverse(),
  );
  const schedule = await runs.schedules.get("seconds");
  assert.equal(schedule.runs_made, data.length);
  assert.equal(schedule.last_scheduled_for, data[0]?.scheduled_for);
});

test("events of a schedule are watched with its id", async () => {
  await runs.schedules.create({ ...YEARLY, scheduleId: "watched", target: "task:fails", backoffLimit: 0 });
  await runs.schedules.trigger("watched");
  for await (const { run_id, event, schedule_id } of runs.watch({ afterPosition: 0, eventTypes: ["schedule.*"] })) {
    if (schedule_id !== "watched") continue;
    assert.deepEqual([run_id, event.event_type], ["", "schedule.health_changed"]);
    assert.deepEqual([event.payload["health"], event.payload["was"]], ["failing", "healthy"]);
    break;
  }
});

test("schedules are listed in pages", async () => {
  for (const name of ["c", "a", "b"]) await runs.schedules.create({ ...YEARLY, scheduleId: `pages/${name}` });
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await runs.schedules.list({ limit: 2, cursor });
    assert.ok(page.data.length <= 2);
    seen.push(...page.data.map((schedule) => schedule.schedule_id));
    cursor = page.page_info.next;
  } while (cursor);
  assert.deepEqual(seen, [...seen].sort());
  assert.deepEqual(
    seen.filter((id) => id.startsWith("pages/")),
    ["pages/a", "pages/b", "pages/c"],
  );
  await refused(runs.schedules.list({ limit: 5000 }), "limit");
});

test("an update changes just what is given, and null unsets", async () => {
  const { schedule: before } = await runs.schedules.create({
    ...YEARLY,
    scheduleId: "changing",
    timezone: "Europe/Stockholm",
    input: { n: 2n ** 70n },
    priority: 5,
    timeoutSeconds: 3,
    endAt: "2040-01-01T00:00:00.000001Z",
  });
  const changed = await runs.schedules.update("changing", {
    priority: null,
    timeoutSeconds: null,
    config: { a: 1 },
    description: undefined,
  });
  assert.deepEqual(changed.spec, { ...before.spec, priority: 0, timeout_seconds: null, config: { a: 1 } });
  assert.notEqual(changed.etag, before.etag);
  const { spec } = await runs.schedules.update("changing", { everySeconds: 90, cron: undefined });
  assert.deepEqual(
    [spec.cron, spec.timezone, spec.every_seconds, spec.end_at],
    ["", "", 90, "2040-01-01T00:00:00.000001Z"],
  );
  const back = await runs.schedules.update("changing", { cron: "0 4 * * *", endAt: null });
  assert.deepEqual(
    [back.spec.cron, back.spec.timezone, back.spec.every_seconds, back.spec.anchor, back.spec.end_at],
    ["0 4 * * *", "UTC", null, null, null],
  );
  await refused(
    runs.schedules.update("changing", { cron: "5 * * * *", everySeconds: 5 }),
    "spec.timetable.every_seconds",
  );
  await refused(runs.schedules.update("changing", { priorty: 1 } as never), "priorty");
  await assert.rejects(runs.schedules.update("nowhere", { priority: 1 }), NotFoundError);
});

test("an update of what has changed since is a conflict, and changes nothing", async () => {
  const { schedule } = await runs.schedules.create({ ...YEARLY, scheduleId: "contended" });
  await runs.schedules.update("contended", { priority: 1 }, { etag: schedule.etag });
  await assert.rejects(
    runs.schedules.update("contended", { priority: 2 }, { etag: schedule.etag }),
    (error: unknown) => {
      assert.ok(error instanceof ConflictError, String(error));
      assert.equal(error.code, "ABORTED");
      return true;
    },
  );
  // What it asks for is there: as if the answer of an earlier try had been lost.
  const taken = await runs.schedules.update("contended", { priority: 1 }, { etag: schedule.etag });
  assert.equal(taken.spec.priority, 1);
  await assert.rejects(runs.schedules.delete("contended", { etag: schedule.etag }), ConflictError);
  assert.deepEqual(await runs.schedules.delete("contended", { etag: taken.etag }), taken);
  await assert.rejects(runs.schedules.delete("contended"), NotFoundError);
  await assert.rejects(runs.schedules.get("contended"), NotFoundError);
});

test("paused it has nothing that comes next, resumed it has", async () => {
  await runs.schedules.create({ ...YEARLY, scheduleId: "resting" });
  const paused = await runs.schedules.pause("resting", { reason: "holidays" });
  assert.deepEqual([paused.paused, paused.pause_reason, paused.next], [true, "holidays", []]);
  const resumed = await runs.schedules.resume("resting");
  assert.deepEqual([resumed.paused, resumed.pause_reason], [false, ""]);
  const { next } = await runs.schedules.get("resting");
  assert.equal(next.length, 5);
  for (const { at, note } of next) assert.match(`${at}${note}`, /^\d{4}-01-01T00:00:00\.000Z$/);
});

test("a run is triggered once a key, by either name", async () => {
  await runs.schedules.create({ ...YEARLY, scheduleId: "by-hand", input: [1], runName: "of itself", paused: true });
  const once = { scheduleId: "by-hand", runName: "now", idempotencyKey: "trigger-once" };
  const { accepted, duplicate, run } = await runs.createScheduleRun(once);
  assert.deepEqual({ accepted, duplicate }, { accepted: true, duplicate: false });
  const again = await runs.schedules.trigger("by-hand", { runName: "now", idempotencyKey: "trigger-once" });
  assert.deepEqual([again.duplicate, again.run.run_id], [true, run.run_id]);
  await assert.rejects(runs.createScheduleRun({ ...once, runName: "another" }), AlreadyExistsError);
  const ended = await runs.wait(run.run_id);
  assert.deepEqual(
    [ended.name, ended.output, ended.trigger_kind, ended.schedule_id, ended.scheduled_for],
    ["now", [1], "manual", "by-hand", null],
  );
  const other = await runs.schedules.trigger("by-hand", { projectId: PROJECT });
  assert.equal(other.run.name, "of itself");
  assert.match(other.run.idempotency_key, /^[0-9a-f]{32}$/);
  await refused(runs.createScheduleRun({ ...once, name: "now" } as never), "name");
  await assert.rejects(runs.createScheduleRun({ scheduleId: "by-foot" }), /by-hand/);
});

test("a preview shows what a change of the clock does", async () => {
  const nightly = { cron: "30 2 * * *", timezone: "Europe/Stockholm" };
  const found = await runs.schedules.preview({ ...nightly, after: new Date("2027-03-27T12:00:00Z"), count: 2 });
  assert.deepEqual(
    found.map(({ at, local }) => [at, local]),
    [
      ["2027-03-28T01:00:00.000Z", "2027-03-28T03:00:00+02:00"],
      ["2027-03-29T00:30:00.000Z", "2027-03-29T02:30:00+02:00"],
    ],
  );
  assert.notEqual(found[0]?.note, "");
  assert.equal(found[1]?.note, "");

  await runs.schedules.create({ scheduleId: "shifted", target: "task:echo", ...nightly });
  const ofSchedule = await runs.schedules.preview({
    scheduleId: "shifted",
    after: "2027-03-27T13:00:00+01:00",
    count: 2,
  });
  assert.deepEqual(ofSchedule, found);
  assert.equal((await runs.schedules.preview({ scheduleId: "shifted" })).length, 10);
  await refused(runs.schedules.preview({ scheduleId: "shifted", cron: "* * * * *" }), "schedule_id");
  await refused(runs.schedules.preview({ cron: "61 * * * *" }), "timetable.cron");
  await refused(runs.schedules.preview({ everySeconds: "soon" as never }), "timetable.every_seconds");
});

test("a backfill makes each run once", async () => {
  await runs.schedules.create({
    scheduleId: "past",
    target: "task:echo",
    cron: "0 * * * *",
    timezone: "Europe/Stockholm",
    paused: true,
  });
  const range = { dueFrom: "2026-03-29T00:00:00Z", dueBefore: new Date("2026-03-29T03:00:00Z") };
  const made = await runs.schedules.backfill("past", range);
  assert.deepEqual(
    made.map(({ scheduled_for, duplicate }) => [scheduled_for, duplicate]),
    [
      ["2026-03-29T00:00:00.000Z", false],
      ["2026-03-29T01:00:00.000Z", false],
      ["2026-03-29T02:00:00.000Z", false],
    ],
  );
  const again = await runs.schedules.backfill("past", range);
  assert.deepEqual(
    again,
    made.map((one) => ({ ...one, duplicate: true })),
  );
  const run = await runs.wait(made[1]!.run_id);
  assert.deepEqual([run.status, run.scheduled_for], ["completed", made[1]!.scheduled_for]);
  await refused(runs.schedules.backfill("past", { ...range, dueFrom: "2020-01-01T00:00:00Z" }), "due_before");
  await refused(
    runs.schedules.backfill("past", { dueFrom: "2026-03-29T00:00:00", dueBefore: "soon" }),
    "due_from",
    "due_before",
  );
});

test("every fault is named at once", async () => {
  const wrong = { scheduleId: "x", target: "task:echo", cron: "61 * * * *", timezone: "Stockholm", everySeconds: 5 };
  await assert.rejects(runs.schedules.create(wrong), (error: unknown) => {
    assert.ok(error instanceof InvalidRequestError);
    assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
      "spec.timetable.cron",
      "spec.timetable.every_seconds",
      "spec.timetable.timezone",
    ]);
    return true;
  });
  const unsendable = { scheduleId: 7, target: "task:echo", at: "noon", priority: 0.5, catchUp: "some", input: NaN };
  await refused(
    runs.schedules.create(unsendable as never),
    "schedule_id",
    "spec.timetable.at",
    "spec.input_json",
    "spec.priority",
    "spec.catch_up",
  );
  await refused(runs.schedules.create({ ...YEARLY, scheduleId: "x", timeZone: "UTC" } as never), "timeZone");
  await refused(runs.schedules.create({ scheduleId: "x", target: "task:checked", everySeconds: 5 }), "spec.input_json");
  await assert.rejects(runs.schedules.create({ ...YEARLY, scheduleId: "x", target: "task:ecko" }), /task:echo/);
});

test("a call of schedules ends with its signal", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await assert.rejects(runs.schedules.list({ signal }), /enough/);
  await assert.rejects(runs.schedules.update("resting", { priority: 1 }, { signal }), /enough/);
  await assert.rejects(runs.createScheduleRun({ scheduleId: "resting" }, { signal }), /enough/);
});
