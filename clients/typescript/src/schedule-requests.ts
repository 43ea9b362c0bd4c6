/** What a caller says of a schedule, and the messages it becomes; as `requests` does for runs. */
import { Fields } from "./fields.js";
import { CatchUp, ConcurrencyPolicy, ScheduleSpec, Timetable } from "./generated/runs/v1/schedules.js";
import { CATCH_UPS, POLICIES } from "./schedule-conversion.js";
import type * as values from "./schedule-values.js";

/** When it is due: one of `cron`, `at` and `everySeconds`. */
export interface TimetableOptions {
  /** Five fields: minute, hour, day of month, month, day of week. */
  cron?: string;
  /** IANA name of the zone of `cron`. UTC. */
  timezone?: string;
  /** Once, at this moment. Strings are RFC 3339 with their offset, here and below. */
  at?: Date | string;
  /** At an interval of real time, at least one second. */
  everySeconds?: number;
  /** Where the interval counts from. 1970-01-01T00:00:00Z. */
  anchor?: Date | string;
  /** Nothing is due before this. */
  startAt?: Date | string;
  /** Nothing is due at or after this. */
  endAt?: Date | string;
}

/** All that can be said about a schedule, beside its id and target. */
export interface ScheduleOptions extends TimetableOptions {
  /** What it is for. */
  description?: string;
  /** Label of its runs. */
  runName?: string;
  /** Any JSON value: input of its runs. */
  input?: unknown;
  /** Any JSON value: config of its runs. */
  config?: unknown;
  /** Labels of its runs. */
  metadata?: Record<string, unknown>;
  /** Priority of its runs, -1000 to 1000. */
  priority?: number;
  /** How long one attempt may take; 0 is without limit. Else the target's. */
  timeoutSeconds?: number;
  /** Retries after the first attempt. Else the target's. */
  backoffLimit?: number;
  /** What becomes of an occurrence while earlier runs have not ended. `allow`. */
  concurrencyPolicy?: values.ConcurrencyPolicy;
  /** Which missed occurrences are made up for. `latest`. */
  catchUp?: values.CatchUp;
  /** Only those of this last while. A day. */
  catchUpWindowSeconds?: number;
  /** Runs start up to this much later, each occurrence by an amount of its own. */
  jitterSeconds?: number;
  /** It is over after this many runs; 0 is never. */
  maxRuns?: number;
  /** It is stale when no run has completed for this long; 0 is never. */
  maxStalenessSeconds?: number;
}

export interface NewSchedule extends ScheduleOptions {
  /** Id of the project; else the client's. */
  projectId?: string;
  /** Letters, digits, `_`, `.` and `-`, nested with `/`. */
  scheduleId: string;
  /** `task:<id>` or `workflow:<id>`. */
  target: string;
  /** It begins paused. */
  paused?: boolean;
}

/** What to change; null unsets. */
export type ScheduleChanges = { target?: string } & {
  [Name in keyof ScheduleOptions]?: ScheduleOptions[Name] | null;
};

/** What to look at: a schedule that is there, or any timetable. */
export interface PreviewOptions extends TimetableOptions {
  projectId?: string;
  scheduleId?: string;
  /** Occurrences after this. Now. */
  after?: Date | string;
  /** 1 to 1000. 10. */
  count?: number;
}

/** Past occurrences: from `dueFrom`, included, to `dueBefore`, not included, which is not later than now. */
export interface BackfillRange {
  dueFrom: Date | string;
  dueBefore: Date | string;
}

/** A run of a schedule, now. */
export interface TriggerOptions {
  /** Id of the project; else the client's. */
  projectId?: string;
  /** The run's label, instead of the schedule's `runName`. */
  runName?: string;
  /** The same key makes one run. Else one of the client's, so that nothing is created twice. */
  idempotencyKey?: string;
}

export interface NewScheduleRun extends TriggerOptions {
  scheduleId: string;
}

type TimetableChanges = { [Name in keyof TimetableOptions]?: TimetableOptions[Name] | null };

const TIMETABLE = [
  "cron",
  "timezone",
  "at",
  "everySeconds",
  "anchor",
  "startAt",
  "endAt",
] as const satisfies (keyof TimetableOptions)[];
const CHANGES = [
  "target",
  ...TIMETABLE,
  "description",
  "runName",
  "input",
  "config",
  "metadata",
  "priority",
  "timeoutSeconds",
  "backoffLimit",
  "concurrencyPolicy",
  "catchUp",
  "catchUpWindowSeconds",
  "jitterSeconds",
  "maxRuns",
  "maxStalenessSeconds",
] satisfies (keyof ScheduleChanges)[];
const NEW_SCHEDULE = ["projectId", "scheduleId", "paused", ...CHANGES] satisfies (keyof NewSchedule)[];
const PREVIEW = ["projectId", "scheduleId", "after", "count", ...TIMETABLE] satisfies (keyof PreviewOptions)[];
const NEW_RUN = ["projectId", "scheduleId", "runName", "idempotencyKey"] satisfies (keyof NewScheduleRun)[];
const CALL = ["signal", "deadlineSeconds"];

const KNOWN = {
  create: new Set<string>(NEW_SCHEDULE),
  update: new Set<string>(CHANGES),
  preview: new Set<string>([...PREVIEW, ...CALL]),
  run: new Set<string>(NEW_RUN),
};

/** Programs that are not type-checked must learn of a misspelt option, too. */
export function refuseUnknown(call: keyof typeof KNOWN, options: object): void {
  const fields = new Fields();
  fields.knownOnly(options, KNOWN[call]);
  fields.check();
}

/**
 * `spec` with just the changes; a document that is not among them goes back byte for byte, and so does what this
 * client does not know of it.
 */
export function changedSpec(fields: Fields, spec: ScheduleSpec, changes: ScheduleChanges): ScheduleSpec {
  const now = spec.timetable ?? Timetable.create();
  return {
    ...spec,
    target: changed(changes.target, spec.target, (value) => fields.text("spec.target", value)),
    timetable: changedTimetable(fields, now, { ...otherWays(changes), ...given(changes) }, "spec.timetable."),
    ...changedRuns(fields, spec, changes),
    ...changedPolicies(fields, spec, changes),
  };
}

/** What its runs are like. */
function changedRuns(fields: Fields, spec: ScheduleSpec, changes: ScheduleChanges): Partial<ScheduleSpec> {
  const { description, runName, input, config, metadata, priority, timeoutSeconds, backoffLimit } = changes;
  return {
    description: changed(description, spec.description, (value) => fields.text("spec.description", value)),
    run_name: changed(runName, spec.run_name, (value) => fields.text("spec.run_name", value)),
    input_json: changed(input, spec.input_json, (value) => fields.document("spec.input_json", value)),
    config_json: changed(config, spec.config_json, (value) => fields.document("spec.config_json", value)),
    metadata_json: changed(metadata, spec.metadata_json, (value) => fields.document("spec.metadata_json", value)),
    priority: changed(priority, spec.priority, (value) => fields.integer("spec.priority", value, 0)),
    timeout_seconds: changed(timeoutSeconds, spec.timeout_seconds, (value) =>
      fields.number("spec.timeout_seconds", value, undefined),
    ),
    backoff_limit: changed(backoffLimit, spec.backoff_limit, (value) =>
      fields.integer("spec.backoff_limit", value, undefined),
    ),
  };
}

/** What becomes of occurrences. */
function changedPolicies(fields: Fields, spec: ScheduleSpec, changes: ScheduleChanges): Partial<ScheduleSpec> {
  const { concurrencyPolicy, catchUp, catchUpWindowSeconds, jitterSeconds, maxRuns, maxStalenessSeconds } = changes;
  return {
    concurrency_policy: changed(concurrencyPolicy, spec.concurrency_policy, (value) =>
      fields.named("spec.concurrency_policy", inLowerCase(value), POLICIES),
    ),
    catch_up: changed(catchUp, spec.catch_up, (value) => fields.named("spec.catch_up", inLowerCase(value), CATCH_UPS)),
    catch_up_window_seconds: changed(catchUpWindowSeconds, spec.catch_up_window_seconds, (value) =>
      fields.number("spec.catch_up_window_seconds", value, undefined),
    ),
    jitter_seconds: changed(jitterSeconds, spec.jitter_seconds, (value) =>
      fields.number("spec.jitter_seconds", value, 0),
    ),
    max_runs: changed(maxRuns, spec.max_runs, (value) => fields.longInteger("spec.max_runs", value)),
    max_staleness_seconds: changed(maxStalenessSeconds, spec.max_staleness_seconds, (value) =>
      fields.number("spec.max_staleness_seconds", value, 0),
    ),
  };
}

/** `path` is where the timetable is in its request. */
export function changedTimetable(
  fields: Fields,
  now: Timetable,
  changes: TimetableChanges,
  path = "timetable.",
): Timetable {
  const { cron, timezone, everySeconds } = changes;
  const time = (name: "at" | "anchor" | "start_at" | "end_at", value: Date | string | null | undefined) =>
    changed(value, now[name], (moment) => fields.time(path + name, moment));
  return {
    ...now,
    cron: changed(cron, now.cron, (value) => fields.text(`${path}cron`, value)),
    timezone: changed(timezone, now.timezone, (value) => fields.text(`${path}timezone`, value)),
    every_seconds: changed(everySeconds, now.every_seconds, (value) =>
      fields.number(`${path}every_seconds`, value, undefined),
    ),
    at: time("at", changes.at),
    anchor: time("anchor", changes.anchor),
    start_at: time("start_at", changes.startAt),
    end_at: time("end_at", changes.endAt),
  };
}

/** The options that say when it is due, by name. */
export function timetableOptions(options: TimetableOptions): (keyof TimetableOptions)[] {
  return TIMETABLE.filter((name) => options[name] !== undefined);
}

/** Whether the update was done: one whose answer was lost is refused when it is made again. */
export function isTaken(wanted: ScheduleSpec, there: ScheduleSpec): boolean {
  const [first, second] = [wanted, there].map((spec) => ScheduleSpec.encode(withDefaults(spec)).finish());
  return Buffer.compare(first!, second!) === 0;
}

/** As the daemon gives it back: with what the contract says of fields that are left out. */
function withDefaults(spec: ScheduleSpec): ScheduleSpec {
  return {
    ...spec,
    timetable: timetableWithDefaults(spec.timetable ?? Timetable.create()),
    concurrency_policy: spec.concurrency_policy || ConcurrencyPolicy.CONCURRENCY_POLICY_ALLOW,
    catch_up: spec.catch_up || CatchUp.CATCH_UP_LATEST,
    catch_up_window_seconds: spec.catch_up_window_seconds ?? 86_400,
  };
}

function timetableWithDefaults(times: Timetable): Timetable {
  if (times.cron) {
    return { ...times, cron: times.cron.trim().split(/\s+/).join(" "), timezone: times.timezone || "UTC" };
  }
  if (times.every_seconds === undefined) return times;
  return { ...times, anchor: times.anchor ?? { seconds: 0, nanos: 0 } };
}

/** What is unset when another of them is chosen: a schedule that gets an interval has no cron expression any more. */
const WAYS = { cron: ["cron", "timezone"], at: ["at"], everySeconds: ["everySeconds", "anchor"] } as const;
type Way = keyof typeof WAYS;

function otherWays(changes: TimetableChanges): TimetableChanges {
  const ways = Object.keys(WAYS) as Way[];
  const chosen = ways.filter((way) => changes[way] !== undefined && changes[way] !== null);
  if (chosen.length !== 1) return {};
  const others = ways.filter((way) => way !== chosen[0]).flatMap((way) => [...WAYS[way]]);
  return Object.fromEntries(others.map((name) => [name, null]));
}

/** Without what is undefined, which would hide what `otherWays` unsets. */
function given(changes: TimetableChanges): TimetableChanges {
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
}

/** What is undefined stays as it is, what is null is unset. */
function changed<Value, Written>(
  value: Value | null | undefined,
  now: Written,
  write: (value: Value | undefined) => Written,
): Written {
  return value === undefined ? now : write(value ?? undefined);
}

/** `runs.toml` has `Forbid`. */
function inLowerCase<Name>(name: Name): Name {
  return typeof name === "string" ? (name.toLowerCase() as Name) : name;
}
