/** A daemon whose schedules have fields that this client does not know: an update must not lose them. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { createRunsClient, type RunsClient } from "runsd-client";

import {
  ScheduleSpec,
  SchedulesService,
  Timetable,
  UpdateScheduleRequest,
} from "../dist/generated/runs/v1/schedules.js";

// A string of field 99, which no message of the contract has.
const NEWS = field(99, Buffer.from("news"));
const TIMETABLE = Buffer.concat([Timetable.encode(Timetable.create({ every_seconds: 60 })).finish(), NEWS]);
const TARGET = ScheduleSpec.encode(ScheduleSpec.create({ target: "task:echo", priority: 3 })).finish();
const SPEC = Buffer.concat([TARGET, field(2, TIMETABLE), NEWS]);
const SCHEDULE = Buffer.concat([field(2, Buffer.from("nightly")), field(3, SPEC), field(4, Buffer.from("7")), NEWS]);

const raw = (bytes: Buffer) => bytes;
let server: grpc.Server;
let runs: RunsClient;
let sent: Buffer;

before(async () => {
  server = new grpc.Server();
  const answered = { requestDeserialize: raw, responseSerialize: raw };
  server.addService(
    {
      getSchedule: { ...SchedulesService.getSchedule, ...answered },
      updateSchedule: { ...SchedulesService.updateSchedule, ...answered },
    },
    { getSchedule: answer, updateSchedule: answer },
  );
  const bind = promisify(server.bindAsync.bind(server)) as (at: string, how: grpc.ServerCredentials) => Promise<number>;
  const port = await bind("127.0.0.1:0", grpc.ServerCredentials.createInsecure());
  runs = createRunsClient({ address: `127.0.0.1:${port}` });
});
after(() => {
  runs?.close();
  server.forceShutdown();
});

/** A length-delimited field of less than 128 bytes. */
function field(number: number, bytes: Uint8Array): Buffer {
  const tag = (number << 3) | 2;
  const head = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7];
  return Buffer.concat([Buffer.from([...head, bytes.length]), bytes]);
}

function answer(call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>): void {
  sent = call.request;
  done(null, field(1, SCHEDULE));
}

/** What was sent, and how many fields 99 it has. */
function read(bytes: Buffer): [UpdateScheduleRequest, number] {
  const count = bytes.toString("latin1").split(NEWS.toString("latin1")).length - 1;
  return [UpdateScheduleRequest.decode(bytes), count];
}

test("an update sends back what the client does not know", async () => {
  await runs.schedules.update("nightly", { priority: 4 });
  const [{ spec, etag }, news] = read(sent);
  assert.equal(news, 2);
  assert.deepEqual([spec?.priority, spec?.target, spec?.timetable?.every_seconds, etag], [4, "task:echo", 60, "7"]);
  await runs.schedules.update("nightly", { cron: "0 0 * * *" });
  const [changed, still] = read(sent);
  assert.equal(still, 2);
  assert.deepEqual([changed.spec?.timetable?.cron, changed.spec?.timetable?.every_seconds], ["0 0 * * *", undefined]);
});

test("answers have just what is documented", async () => {
  const schedule = await runs.schedules.get("nightly");
  assert.equal(JSON.stringify(schedule).includes("_unknownFields"), false);
  assert.equal(schedule.spec.every_seconds, 60);
});
