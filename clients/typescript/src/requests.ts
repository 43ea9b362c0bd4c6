/** What a caller asks for, and the message it becomes. */
import { randomUUID } from "node:crypto";

import { KINDS, STATUSES, TRIGGER_KINDS } from "./conversion.js";
import { InvalidRequestError, type FieldViolation } from "./errors.js";
import { Fields } from "./fields.js";
import {
  BatchCreateRunsRequest,
  CreateRunRequest,
  DecideApprovalRequest,
  ListRunsRequest,
  RetryRunRequest,
  SignalRunRequest,
  WatchEventsRequest,
} from "./generated/runs/v1/runs.js";
import type { Settings } from "./settings.js";
import type { RunKind, RunStatus, TriggerKind } from "./values.js";

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

/** Which events of a project to watch. */
export interface WatchFilters {
  /** Else the client's. */
  projectId?: string;
  /** Only events after this `position`; 0 is from the beginning. Else from now on. */
  afterPosition?: number;
  /** Only these; `run.*` stands for all that begin with `run.`. */
  eventTypes?: readonly string[];
  /** Only of runs of these. */
  targets?: readonly string[];
}

/** Which runs to list; a run must fit every filter that is set. */
export interface RunFilters {
  projectId?: string;
  /** The same as `projectId`. */
  projectReference?: string;
  /** From `page_info` of an earlier page; the filters must be the same. */
  cursor?: string;
  /** 1 to 1000. 50. */
  limit?: number;
  /** Any of these. */
  statuses?: readonly RunStatus[];
  kind?: RunKind;
  target?: string;
  namePrefix?: string;
  parentRunId?: string;
  batchId?: string;
  /** Each member must be in the run's, with an equal value. */
  metadata?: Record<string, unknown>;
  createdFrom?: Date | string;
  createdBefore?: Date | string;
}

export interface Decision {
  /** Who decides; must be among the approvers if there are any. */
  by?: string;
  comment?: string;
  /** A structured answer, held against the approval's schema. */
  data?: unknown;
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
const WATCH_FILTERS = new Set<string>(["projectId", "afterPosition", "eventTypes", "targets", "signal"] satisfies (
  keyof WatchFilters | "signal"
)[]);
const RUN_FILTERS = new Set<string>([
  "projectId",
  "projectReference",
  "cursor",
  "limit",
  "statuses",
  "kind",
  "target",
  "namePrefix",
  "parentRunId",
  "batchId",
  "metadata",
  "createdFrom",
  "createdBefore",
  "signal",
  "deadlineSeconds",
] satisfies (keyof RunFilters | "signal" | "deadlineSeconds")[]);

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
  return plain((fields) => ({ project: fields.text("project", projectId ?? settings.project), requests }));
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

export function watchEvents(filters: WatchFilters, settings: Settings): WatchEventsRequest {
  const fields = new Fields();
  fields.knownOnly(filters, WATCH_FILTERS);
  const { afterPosition } = filters;
  const request = WatchEventsRequest.create({
    project: fields.text("project", filters.projectId ?? settings.project),
    after_position: afterPosition === undefined ? undefined : fields.longInteger("after_position", afterPosition),
    event_types: (filters.eventTypes ?? []).map((type) => fields.text("event_types", type)),
    targets: (filters.targets ?? []).map((target) => fields.text("targets", target)),
  });
  fields.check();
  return request;
}

export function listRuns(filters: RunFilters, settings: Settings): ListRunsRequest {
  const fields = new Fields();
  fields.knownOnly(filters, RUN_FILTERS);
  const request = ListRunsRequest.create({
    project: fields.text("project", filters.projectId ?? filters.projectReference ?? settings.project),
    limit: fields.integer("limit", filters.limit, 0),
    page_token: fields.text("page_token", filters.cursor),
    statuses: (filters.statuses ?? []).map((status) => fields.named("statuses", status, STATUSES)),
    kind: fields.named("kind", filters.kind, KINDS),
    target: fields.text("target", filters.target),
    name_prefix: fields.text("name_prefix", filters.namePrefix),
    parent_run_id: fields.text("parent_run_id", filters.parentRunId),
    batch_id: fields.text("batch_id", filters.batchId),
    metadata_json: fields.document("metadata_json", filters.metadata),
    created_from: fields.time("created_from", filters.createdFrom),
    created_before: fields.time("created_before", filters.createdBefore),
  });
  fields.check();
  return request;
}

export function retryRun(
  runId: string,
  options: { fromFailedStep?: boolean; idempotencyKey?: string },
): RetryRunRequest {
  const fields = new Fields();
  const request = RetryRunRequest.create({
    run_id: fields.text("run_id", runId),
    from_failed_step: fields.flag("from_failed_step", options.fromFailedStep),
    idempotency_key: fields.text("idempotency_key", options.idempotencyKey) || newKey(),
  });
  fields.check();
  return request;
}

export function signalRun(runId: string, name: string, payload: unknown, idempotencyKey?: string): SignalRunRequest {
  const fields = new Fields();
  const request = SignalRunRequest.create({
    run_id: fields.text("run_id", runId),
    name: fields.text("name", name),
    payload_json: fields.document("payload_json", payload),
    idempotency_key: fields.text("idempotency_key", idempotencyKey) || newKey(),
  });
  fields.check();
  return request;
}

/** Made again after a lost answer it is the same decision, also when the run has asked anew under that name. */
export function decide(runId: string, name: string, approved: boolean, decision: Decision): DecideApprovalRequest {
  const fields = new Fields();
  const request = DecideApprovalRequest.create({
    run_id: fields.text("run_id", runId),
    name: fields.text("name", name),
    approved,
    by: fields.text("by", decision.by),
    comment: fields.text("comment", decision.comment),
    data_json: fields.document("data_json", decision.data),
    idempotency_key: newKey(),
  });
  fields.check();
  return request;
}

/** A request made of texts and integers alone. */
export function plain<Request>(make: (fields: Fields) => Request): Request {
  const fields = new Fields();
  const request = make(fields);
  fields.check();
  return request;
}

function newKey(): string {
  return randomUUID().replaceAll("-", "");
}
