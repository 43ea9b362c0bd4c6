/** What a caller asks for, and the message it becomes; `creation` has the runs to create. */
import { KINDS, STATUSES } from "./conversion.js";
import { newKey } from "./creation.js";
import { Fields } from "./fields.js";
import {
  DecideApprovalRequest,
  ListRunsRequest,
  RetryRunRequest,
  SignalRunRequest,
  WatchEventsRequest,
} from "./generated/runs/v1/runs.js";
import type { Settings } from "./settings.js";
import type { RunKind, RunStatus } from "./values.js";

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
  /** Only runs of this schedule. */
  scheduleId?: string;
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
  "scheduleId",
  "metadata",
  "createdFrom",
  "createdBefore",
  "signal",
  "deadlineSeconds",
] satisfies (keyof RunFilters | "signal" | "deadlineSeconds")[]);

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
    schedule_id: fields.text("schedule_id", filters.scheduleId),
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

/** A request of a call that has none of its own here. */
export function plain<Request>(make: (fields: Fields) => Request): Request {
  const fields = new Fields();
  const request = make(fields);
  fields.check();
  return request;
}
