/**
 * The values that a caller gets, with the names of the run record.
 *
 * Times are RFC 3339 in UTC with milliseconds, or microseconds where there are any. Texts are empty
 * and times null where nothing is set; a document is null where there is none.
 */
import type { Json, JsonObject } from "./documents.js";

/** `unspecified`, here and below, is one that this client does not know. */
export type RunKind = "unspecified" | "task" | "workflow";
export type RunStatus = "unspecified" | "pending" | "running" | "waiting" | "completed" | "failed" | "cancelled";
export type TriggerKind = "unspecified" | "manual" | "schedule" | "api";
export type StepKind = "unspecified" | "function" | "run" | "sleep" | "signal" | "approval" | "parallel" | "map";
export type StepState =
  "unspecified" | "pending" | "running" | "waiting" | "completed" | "failed" | "skipped" | "cancelled";

/** Whether a run with this status will never change again. */
export function isTerminal(status: RunStatus): boolean {
  return status === "completed" || status === "failed" || status === "cancelled";
}

/** Why a run failed: `message` for people, `code` for programs. */
export interface RunError {
  message: string;
  code: string;
  detail: Json;
}

/** A file that a run left; `sha256` is 64 hexadecimal digits. */
export interface Artifact {
  name: string;
  size_bytes: number;
  sha256: string;
  media_type: string;
  attempt: number;
}

/**
 * A recorded unit of work of a workflow run.
 *
 * `parent_step_id` is empty at the top. `output` is null, too, where it has more than 4096 characters as
 * JSON; the `step.completed` event has it. `detail` is what the step waits for, `until` when it stops.
 */
export interface Step {
  step_id: string;
  parent_step_id: string;
  name: string;
  kind: StepKind;
  state: StepState;
  attempt: number;
  output: Json;
  error: RunError | null;
  started_at: string | null;
  completed_at: string | null;
  child_run_id: string;
  detail: string;
  until: string | null;
}

/** One durable execution of a target. `logs`, `artifacts` and `steps` are empty in lists. */
export interface Run {
  run_id: string;
  kind: RunKind;
  status: RunStatus;
  project: string;
  name: string;
  target: string;
  input: Json;
  config: Json;
  output: Json;
  error: RunError | null;
  logs: string;
  logs_truncated: boolean;
  artifacts: Artifact[];
  duration_ms: number | null;
  exit_code: number | null;
  created_at: string | null;
  started_at: string | null;
  completed_at: string | null;
  updated_at: string | null;
  parent_run_id: string;
  root_run_id: string;
  waiting_reason: string;
  schedule_id: string;
  batch_id: string;
  trigger_kind: TriggerKind;
  trigger_id: string;
  created_by: string;
  metadata: JsonObject;
  attempt: number;
  /** How long one attempt may take; 0 is without limit. */
  timeout_seconds: number;
  /** Retries after the first attempt. */
  backoff_limit: number;
  idempotency_key: string;
  cancel_requested: boolean;
  priority: number;
  concurrency_key: string;
  start_after: string | null;
  expires_after: string | null;
  retry_of_run_id: string;
  /** Of a workflow, in the order in which they began. */
  steps: Step[];
  steps_truncated: boolean;
  /** The occurrence of its schedule that it was made for. */
  scheduled_for: string | null;
}

/** An entry of a run's log; `event_id` is 1, 2, 3 … without gaps. */
export interface RunEvent {
  event_id: number;
  event_type: string;
  payload: JsonObject;
  created_at: string | null;
}

/**
 * An event of any run; `position` is its place in the order of all commits.
 *
 * An event of a schedule has its `schedule_id`, and no `run_id`.
 */
export interface WatchedEvent {
  position: number;
  run_id: string;
  target: string;
  event: RunEvent;
  schedule_id: string;
}

/** Whether this event is the last of its run. */
export function isTerminalEvent(event: RunEvent): boolean {
  return ["run.completed", "run.failed", "run.cancelled"].includes(event.event_type);
}

/** Something wrong with a definition: where, and what would be right. */
export interface DefinitionProblem {
  file: string;
  key: string;
  message: string;
}

/** A definition that runs execute; one with problems cannot be run. */
export interface Target {
  target: string;
  kind: RunKind;
  name: string;
  description: string;
  adapter: string;
  timeout_seconds: number;
  backoff_limit: number;
  max_concurrent: number;
  on_interrupt: string;
  input_schema: Json;
  config_schema: Json;
  output_schema: Json;
  source: string;
  problems: DefinitionProblem[];
}

/** Cursors of the pages of a list; empty where there is no such page. */
export interface PageInfo {
  self: string;
  first: string;
  next: string;
  prev: string;
}

export interface Page<Item> {
  data: Item[];
  page_info: PageInfo;
}

/** `duplicate` is true when the idempotency key had made this run, or signal, before. */
export interface AcceptedAnswer {
  accepted: boolean;
  duplicate: boolean;
  run: Run;
}

/** `cancelled` is false when the run had ended already. */
export interface CancelAnswer {
  cancelled: boolean;
  run: Run;
}

/** The targets, and why there may be more: problems of what could not be read. */
export interface Definitions {
  data: Target[];
  problems: DefinitionProblem[];
}

/** The targets as they are now, and all problems. */
export interface ReloadAnswer {
  data: Target[];
  problems: DefinitionProblem[];
}
