/** Runs to create, and the messages they become. */
import { randomBytes } from "node:crypto";

import { TRIGGER_KINDS } from "./conversion.js";
import { InvalidRequestError, type FieldViolation } from "./errors.js";
import { Fields } from "./fields.js";
import { BatchCreateRunsRequest, CreateRunRequest } from "./generated/runs/v1/runs.js";
import type { Settings } from "./settings.js";
import type { RunKind, TriggerKind } from "./values.js";

/** All that can be said about a run to create, beside its target. */
export interface RunOptions {
  /** Id of the project; else the client's. */
  projectId?: string;
  /** A label for people. */
  name?: string;
  /** Any JSON value: what the definition works on. */
  input?: unknown;
  /** Any JSON value: how the definition does it. */
  config?: unknown;
  /** Labels to filter by. */
  metadata?: Record<string, unknown>;
  /** How long one attempt may take; 0 is without limit. Else the definition's. */
  timeoutSeconds?: number;
  /** Retries after the first attempt. Else the definition's. */
  backoffLimit?: number;
  /** The same key makes one run. Else one of the client's, so that nothing is created twice. */
  idempotencyKey?: string;
  /** Higher starts earlier, -1000 to 1000. */
  priority?: number;
  /** Of the runs that share this key, one executes at a time. */
  concurrencyKey?: string;
  /** Seconds from now before which the run does not start. */
  startAfterSeconds?: number;
  /** Seconds from now by which the run must have started, or it fails with code `expired`. */
  expiresAfterSeconds?: number;
  /** Else the run that this process is part of, if any. Empty: none. */
  parentRunId?: string;
  batchId?: string;
  triggerKind?: TriggerKind;
  triggerId?: string;
  createdBy?: string;
}

export interface NewTaskRun extends RunOptions {
  /** `task:<id>`. */
  target: string;
}

/** Of a workflow by its id or as a target; where both are given they must agree. */
export interface NewWorkflowRun extends RunOptions {
  workflowId?: string;
  /** `workflow:<id>`. */
  target?: string;
}

/** Of a task or a workflow. */
export interface NewRun extends RunOptions {
  /** `task:<id>` or `workflow:<id>`. */
  target: string;
}

const RUN_OPTIONS = new Set<string>([
  "projectId",
  "target",
  "workflowId",
  "name",
  "input",
  "config",
  "metadata",
  "timeoutSeconds",
  "backoffLimit",
  "idempotencyKey",
  "priority",
  "concurrencyKey",
  "startAfterSeconds",
  "expiresAfterSeconds",
  "parentRunId",
  "batchId",
  "triggerKind",
  "triggerId",
  "createdBy",
] satisfies (keyof NewWorkflowRun)[]);
const NEW_RUN = new Set([...RUN_OPTIONS].filter((name) => name !== "workflowId"));

export function createTaskRun(run: NewTaskRun, settings: Settings): CreateRunRequest {
  return createRun("task", run.target, run, settings);
}

export function createWorkflowRun(run: NewWorkflowRun, settings: Settings): CreateRunRequest {
  const byId = run.workflowId ? `workflow:${run.workflowId}` : undefined;
  if (byId && run.target && byId !== run.target) {
    const fields = new Fields();
    fields.refuse("target", `"${run.target}" is not the workflow "${run.workflowId}"; give one of them`);
    fields.check();
  }
  return createRun("workflow", byId ?? run.target ?? "", run, settings);
}

/** All violations of all runs at once, named `requests[i].field` as the daemon's. */
export function batchCreate(
  runs: readonly NewRun[],
  projectId: string | undefined,
  settings: Settings,
): BatchCreateRunsRequest {
  const violations: FieldViolation[] = [];
  const requests = runs.flatMap((run, index) => {
    try {
      return [newRun(run, settings)];
    } catch (error) {
      if (!(error instanceof InvalidRequestError)) throw error;
      violations.push(...error.violations.map((one) => ({ ...one, field: `requests[${index}].${one.field}` })));
      return [];
    }
  });
  if (violations.length > 0) throw new InvalidRequestError(violations);
  const fields = new Fields();
  const request = { project: fields.text("project", projectId ?? settings.project), requests };
  fields.check();
  return request;
}

function newRun(run: NewRun, settings: Settings): CreateRunRequest {
  const fields = new Fields();
  fields.knownOnly(run, NEW_RUN);
  // The project of the batch, unless the run names one.
  const request = runFields(fields, fields.text("target", run.target), run, run.projectId ?? "", settings);
  fields.check();
  return request;
}

function createRun(kind: RunKind, target: string, run: RunOptions, settings: Settings): CreateRunRequest {
  const fields = new Fields();
  fields.knownOnly(run, RUN_OPTIONS);
  if (!fields.text("target", target).startsWith(`${kind}:`)) {
    fields.refuse("target", `"${target}" is no ${kind}; write ${kind}:<id>`);
  }
  const request = runFields(fields, target, run, run.projectId ?? settings.project, settings);
  fields.check();
  return request;
}

function runFields(
  fields: Fields,
  target: string,
  run: RunOptions,
  project: string,
  settings: Settings,
): CreateRunRequest {
  return CreateRunRequest.create({
    project: fields.text("project", project),
    target,
    name: fields.text("name", run.name),
    input_json: fields.document("input_json", run.input),
    config_json: fields.document("config_json", run.config),
    metadata_json: fields.document("metadata_json", run.metadata),
    timeout_seconds: fields.number("timeout_seconds", run.timeoutSeconds, undefined),
    backoff_limit: fields.integer("backoff_limit", run.backoffLimit, undefined),
    idempotency_key: fields.text("idempotency_key", run.idempotencyKey) || newKey(),
    priority: fields.integer("priority", run.priority, 0),
    concurrency_key: fields.text("concurrency_key", run.concurrencyKey),
    start_after_seconds: fields.number("start_after_seconds", run.startAfterSeconds, 0),
    expires_after_seconds: fields.number("expires_after_seconds", run.expiresAfterSeconds, 0),
    parent_run_id: fields.text("parent_run_id", run.parentRunId ?? settings.parentRunId),
    batch_id: fields.text("batch_id", run.batchId),
    trigger_kind: fields.named("trigger_kind", run.triggerKind, TRIGGER_KINDS),
    trigger_id: fields.text("trigger_id", run.triggerId),
    created_by: fields.text("created_by", run.createdBy),
  });
}

/**
 * Without a key of the caller's, so that a call that is made again does nothing twice. In order of time, so that
 * keys stand beside each other in the daemon's index: at random they are a page of it each.
 */
export function newKey(): string {
  return Date.now().toString(16).padStart(12, "0") + randomBytes(10).toString("hex");
}
