/** The calls that scenarios name, made with this client; answers and errors as plain values. */
import {
  InvalidRequestError,
  type NewRun,
  type NewSchedule,
  type NewScheduleRun,
  type NewTaskRun,
  type NewWorkflowRun,
  type RunEvent,
  type RunFilters,
  type RunsClient,
  type RunsError,
  type WatchedEvent,
  type WatchFilters,
} from "runsd-client";

type Arguments = Record<string, unknown>;

/** The names of the contract are those of the client in camelCase. */
function options(names: Arguments): never {
  const camelCase = (name: string): string => name.replace(/_(.)/g, (_all, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(names).map(([name, value]) => [camelCase(name), value])) as never;
}

/** Options of calls that the client does not hold against a list itself. */
function known(names: Arguments, ...allowed: string[]): never {
  const unknown = Object.keys(names).filter((name) => !allowed.includes(name));
  if (unknown.length > 0) throw new Error(`no such arguments: ${unknown.join(", ")}`);
  return options(names);
}

interface Named extends Arguments {
  run_id: string;
  name: string;
}

interface OfSchedule extends Arguments {
  schedule_id: string;
  etag?: string;
}

export const CALLS: Record<string, (runs: RunsClient, names: never) => Promise<unknown>> = {
  create_task: (runs, names: Arguments) => runs.createTaskRun(options(names) as NewTaskRun),
  create_workflow: (runs, names: Arguments) => runs.createWorkflowRun(options(names) as NewWorkflowRun),
  batch_create: (runs, { runs: several, ...rest }: { runs: Arguments[] }) =>
    runs.batchCreate(
      several.map((run) => options(run) as NewRun),
      known(rest),
    ),
  get: (runs, { run_id, ...rest }: Named) => runs.get(run_id, known(rest)),
  list: (runs, names: Arguments) => runs.list(options(names) as RunFilters),
  events: (runs, { run_id, ...rest }: Named) => runs.events(run_id, known(rest, "after_event_id", "limit")),
  wait: (runs, { run_id, ...rest }: Named) => runs.wait(run_id, known(rest, "timeout_seconds")),
  cancel: (runs, { run_id, ...rest }: Named) => runs.cancel(run_id, known(rest, "reason")),
  retry: (runs, { run_id, ...rest }: Named) => runs.retry(run_id, known(rest, "from_failed_step", "idempotency_key")),
  signal: (runs, { run_id, name, payload, ...rest }: Named) =>
    runs.signal(run_id, name, payload, known(rest, "idempotency_key")),
  approve: (runs, { run_id, name, ...rest }: Named) => runs.approve(run_id, name, known(rest, "by", "comment", "data")),
  reject: (runs, { run_id, name, ...rest }: Named) => runs.reject(run_id, name, known(rest, "by", "comment", "data")),
  artifacts: async (runs, { run_id, ...rest }: Named) => (await runs.artifacts.list(run_id, known(rest))).data,
  read_artifact: async (runs, { run_id, name, ...rest }: Named) => {
    const pieces: Uint8Array[] = [];
    for await (const piece of runs.artifacts.read(run_id, name, known(rest))) pieces.push(piece);
    return Buffer.concat(pieces).toString();
  },
  targets: async (runs, names: Arguments) => (await runs.targets.list(known(names))).data,
  target: (runs, { target, ...rest }: { target: string }) => runs.targets.get(target, known(rest)),
  create_schedule: (runs, names: Arguments) => runs.schedules.create(options(names) as NewSchedule),
  get_schedule: (runs, { schedule_id, ...rest }: OfSchedule) => runs.schedules.get(schedule_id, known(rest)),
  list_schedules: (runs, names: Arguments) => runs.schedules.list(known(names, "limit")),
  update_schedule: (runs, { schedule_id, etag, ...changes }: OfSchedule) =>
    runs.schedules.update(schedule_id, options(changes), { etag }),
  pause_schedule: (runs, { schedule_id, ...rest }: OfSchedule) =>
    runs.schedules.pause(schedule_id, known(rest, "reason")),
  resume_schedule: (runs, { schedule_id, ...rest }: OfSchedule) => runs.schedules.resume(schedule_id, known(rest)),
  delete_schedule: (runs, { schedule_id, ...rest }: OfSchedule) =>
    runs.schedules.delete(schedule_id, known(rest, "etag")),
  trigger_schedule: (runs, names: Arguments) => runs.createScheduleRun(options(names) as NewScheduleRun),
  preview_schedule: (runs, names: Arguments) => runs.schedules.preview(options(names)),
  backfill_schedule: (runs, { schedule_id, ...rest }: OfSchedule) =>
    runs.schedules.backfill(schedule_id, known(rest, "due_from", "due_before")),
};

export const STREAMS: Record<string, (runs: RunsClient, names: never) => AsyncGenerator<RunEvent | WatchedEvent>> = {
  follow: (runs, { run_id, ...rest }: Named) => runs.follow(run_id, known(rest, "after_event_id")),
  watch: (runs, names: Arguments) => runs.watch(options(names) as WatchFilters),
};

export function plainError(error: RunsError): Record<string, unknown> {
  const found = error instanceof InvalidRequestError ? error.violations : [];
  const violations = found.map(({ field, description }) => ({ field, description }));
  return { error: error.name, code: error.code, reason: error.reason, message: error.message, violations };
}
