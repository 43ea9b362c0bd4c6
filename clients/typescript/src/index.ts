/** The Node client of runsd. */
export type { CallOptions } from "./calling.js";
export { createRunsClient } from "./client.js";
export type { ArtifactCalls, RunsClient, TargetCalls } from "./client.js";
export type { NewRun, NewTaskRun, NewWorkflowRun, RunOptions } from "./creation.js";
export type { Json, JsonObject } from "./documents.js";
export * from "./errors.js";
export type { Decision, RunFilters, WatchFilters } from "./requests.js";
export type { ScheduleCalls } from "./schedules.js";
export type {
  BackfillRange,
  NewSchedule,
  NewScheduleRun,
  PreviewOptions,
  ScheduleChanges,
  ScheduleOptions,
  TimetableOptions,
  TriggerOptions,
} from "./schedule-requests.js";
export * from "./schedule-values.js";
export type { OnRetry, RetryPolicy } from "./retrying.js";
export type { RunsClientOptions, TlsOptions } from "./settings.js";
export * from "./values.js";
