/**
 * From the messages of schedules to values, as `conversion` does for runs. What a newer daemon has in them stays in
 * the messages, which an update sends back, and is not part of the values.
 */
import { Names, readMoment, readTime } from "./conversion.js";
import { readDocument, readObject } from "./documents.js";
import * as wire from "./generated/runs/v1/schedules.js";
import type * as values from "./schedule-values.js";

export const POLICIES = new Names<values.ConcurrencyPolicy>(wire.ConcurrencyPolicy, "CONCURRENCY_POLICY_");
export const CATCH_UPS = new Names<values.CatchUp>(wire.CatchUp, "CATCH_UP_");
const HEALTHS = new Names<values.ScheduleHealth>(wire.ScheduleHealth, "SCHEDULE_HEALTH_");

export function readSchedule(message: wire.Schedule | undefined): values.Schedule {
  const { _unknownFields, ...same } = message ?? wire.Schedule.create();
  return {
    ...same,
    spec: readSpec(same.spec ?? wire.ScheduleSpec.create()),
    health: HEALTHS.name(same.health),
    created_at: readTime(same.created_at),
    updated_at: readTime(same.updated_at),
    next: same.next.map(readOccurrence),
    last_scheduled_for: readTime(same.last_scheduled_for),
    last_success_at: readTime(same.last_success_at),
    skips: same.skips.map(readSkipped),
  };
}

function readSpec(message: wire.ScheduleSpec): values.ScheduleSpec {
  const { timetable, input_json, config_json, metadata_json, _unknownFields, ...same } = message;
  return {
    ...same,
    ...readTimetable(timetable ?? wire.Timetable.create()),
    input: readDocument(input_json),
    config: readDocument(config_json),
    metadata: readObject(metadata_json) ?? {},
    timeout_seconds: same.timeout_seconds ?? null,
    backoff_limit: same.backoff_limit ?? null,
    concurrency_policy: POLICIES.name(same.concurrency_policy),
    catch_up: CATCH_UPS.name(same.catch_up),
    catch_up_window_seconds: same.catch_up_window_seconds ?? null,
  };
}

function readTimetable({ cron, timezone, every_seconds, ...times }: wire.Timetable) {
  return {
    cron,
    timezone,
    every_seconds: every_seconds ?? null,
    at: readTime(times.at),
    anchor: readTime(times.anchor),
    start_at: readTime(times.start_at),
    end_at: readTime(times.end_at),
  };
}

export function readOccurrence({ at, local, note }: wire.Occurrence): values.Occurrence {
  return { at: readMoment(at), local, note };
}

function readSkipped({ _unknownFields, ...same }: wire.SkippedOccurrences): values.SkippedOccurrences {
  return { ...same, first_at: readMoment(same.first_at), last_at: readMoment(same.last_at) };
}

export function readBackfilled({ _unknownFields, ...same }: wire.BackfilledRun): values.BackfilledRun {
  return { ...same, scheduled_for: readMoment(same.scheduled_for) };
}
