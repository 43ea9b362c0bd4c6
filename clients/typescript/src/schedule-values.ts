/** The values of schedules, as `values` has those of runs. */
import type { Json, JsonObject } from "./documents.js";
import type { DefinitionProblem } from "./values.js";

/**
 * What becomes of an occurrence while runs of its schedule have not ended.
 *
 * `allow`: another run beside them. `forbid`: it is skipped. `replace`: they are cancelled. `queue`: its run
 * is created when they have ended.
 */
export type ConcurrencyPolicy = "unspecified" | "allow" | "forbid" | "replace" | "queue";
/** Which missed occurrences are made up for. */
export type CatchUp = "unspecified" | "none" | "latest" | "all";
/** `stale`: no run has completed for too long; `failing`: the one that ended last has failed. */
export type ScheduleHealth = "unspecified" | "healthy" | "stale" | "failing";

/**
 * What a schedule does, and when: one of `cron`, `at` and `every_seconds` is set.
 *
 * An empty `timezone` is UTC. `timeout_seconds` and `backoff_limit` are the target's where they are null.
 */
export interface ScheduleSpec {
  target: string;
  cron: string;
  timezone: string;
  at: string | null;
  every_seconds: number | null;
  anchor: string | null;
  start_at: string | null;
  end_at: string | null;
  description: string;
  run_name: string;
  input: Json;
  config: Json;
  metadata: JsonObject;
  priority: number;
  timeout_seconds: number | null;
  backoff_limit: number | null;
  concurrency_policy: ConcurrencyPolicy;
  catch_up: CatchUp;
  catch_up_window_seconds: number | null;
  jitter_seconds: number;
  max_runs: number;
  max_staleness_seconds: number;
}

/**
 * A moment at which a schedule is due.
 *
 * `local` is the moment on the clock of its zone, RFC 3339. `note` says why it is not as the expression says,
 * where the clock is changed.
 */
export interface Occurrence {
  at: string;
  local: string;
  note: string;
}

/** Occurrences in a row that made no run; `count` is a lower bound where `is_at_least`. */
export interface SkippedOccurrences {
  first_at: string;
  last_at: string;
  count: number;
  is_at_least: boolean;
  reason: string;
}

/**
 * A schedule as it is now.
 *
 * `next` has up to five occurrences from `get`, one in lists, and none when it is paused or over. `skips` is empty in
 * lists. `source` is where it is declared; empty for one that was made by a client.
 */
export interface Schedule {
  project: string;
  schedule_id: string;
  spec: ScheduleSpec;
  etag: string;
  source: string;
  paused: boolean;
  pause_reason: string;
  health: ScheduleHealth;
  created_at: string | null;
  updated_at: string | null;
  next: Occurrence[];
  last_run_id: string;
  last_scheduled_for: string | null;
  last_success_run_id: string;
  last_success_at: string | null;
  /** Of its own, not counting those triggered or backfilled. */
  runs_made: number;
  active_runs: number;
  queued: number;
  skipped: number;
  skips: SkippedOccurrences[];
  problems: DefinitionProblem[];
}

/** `duplicate` is true when the schedule had been there before, with an equal spec. */
export interface CreateScheduleAnswer {
  duplicate: boolean;
  schedule: Schedule;
}

/**
 * The run of a past occurrence; `duplicate` is true when it had been there before.
 *
 * `run_id` is empty where the occurrence waits for runs to end.
 */
export interface BackfilledRun {
  scheduled_for: string;
  run_id: string;
  duplicate: boolean;
}
