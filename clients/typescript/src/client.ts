/** The client. Thin: what is sent, how it is read and what is tried again is decided elsewhere. */
import { Calling, type CallOptions } from "./calling.js";
import { readAccepted, readEvent, readPage, readRun, readTarget } from "./conversion.js";
import * as creation from "./creation.js";
import type { NewRun, NewTaskRun, NewWorkflowRun } from "./creation.js";
import { ArtifactCursor, EventCursor, WatchCursor } from "./cursors.js";
import { DefinitionsService } from "./generated/runs/v1/definitions.js";
import { RunsService } from "./generated/runs/v1/runs.js";
import * as requests from "./requests.js";
import type { Decision, RunFilters, WatchFilters } from "./requests.js";
import { refuseUnknown, type NewScheduleRun } from "./schedule-requests.js";
import { ScheduleCalls } from "./schedules.js";
import { resolveSettings, type RunsClientOptions, type Settings } from "./settings.js";
import type {
  AcceptedAnswer,
  Artifact,
  CancelAnswer,
  Definitions,
  Page,
  ReloadAnswer,
  Run,
  RunEvent,
  Target,
  WatchedEvent,
} from "./values.js";

/** A client of one daemon. It connects with its first call. Throws ConfigurationError. */
export function createRunsClient(options: RunsClientOptions = {}): RunsClient {
  return new RunsClient(resolveSettings(options));
}

/**
 * Durable runs on one daemon. All methods throw RunsError, or the reason of an AbortSignal.
 * Made by `createRunsClient`.
 */
export class RunsClient {
  readonly artifacts: ArtifactCalls;
  readonly targets: TargetCalls;
  readonly schedules: ScheduleCalls;
  private readonly calling: Calling;

  /** @internal */
  constructor(private readonly settings: Settings) {
    this.calling = new Calling(settings);
    this.artifacts = new ArtifactCalls(this.calling);
    this.targets = new TargetCalls(this.calling, settings);
    this.schedules = new ScheduleCalls(this.calling, settings);
  }

  get address(): string {
    return this.settings.address;
  }

  /** From the moment of the answer the run is on disk. */
  async createTaskRun(run: NewTaskRun, options?: CallOptions): Promise<AcceptedAnswer> {
    const request = creation.createTaskRun(run, this.settings);
    return readAccepted(await this.calling.call(RunsService.createRun, request, options));
  }

  /** As `createTaskRun`, of a workflow. */
  async createWorkflowRun(run: NewWorkflowRun, options?: CallOptions): Promise<AcceptedAnswer> {
    const request = creation.createWorkflowRun(run, this.settings);
    return readAccepted(await this.calling.call(RunsService.createRun, request, options));
  }

  /** The same as `schedules.trigger`: a run of a schedule, now. */
  async createScheduleRun(run: NewScheduleRun, options?: CallOptions): Promise<AcceptedAnswer> {
    refuseUnknown("run", run);
    const { scheduleId, ...rest } = run;
    return this.schedules.trigger(scheduleId, { ...rest, ...options });
  }

  /** Creates 1 to 1000 runs of one project, all or none; the answers are in the order of `runs`. */
  async batchCreate(
    runs: readonly NewRun[],
    options: { projectId?: string } & CallOptions = {},
  ): Promise<AcceptedAnswer[]> {
    const request = creation.batchCreate(runs, options.projectId, this.settings);
    return (await this.calling.call(RunsService.batchCreateRuns, request, options)).data.map(readAccepted);
  }

  /** The run as it is now. */
  async get(runId: string, options?: CallOptions): Promise<Run> {
    const request = requests.plain((fields) => ({ run_id: fields.text("run_id", runId) }));
    return readRun((await this.calling.call(RunsService.getRun, request, options)).run);
  }

  /** A page of runs, newest first. Cursors stay right while runs are added. */
  async list(options: RunFilters & CallOptions = {}): Promise<Page<Run>> {
    const request = requests.listRuns(options, this.settings);
    return readPage(await this.calling.call(RunsService.listRuns, request, options), readRun);
  }

  /** A page of a run's events, oldest first: at most `limit` (1 to 1000; 100) after `afterEventId`. */
  async events(
    runId: string,
    options: { afterEventId?: number; limit?: number } & CallOptions = {},
  ): Promise<Page<RunEvent>> {
    const request = requests.plain((fields) => ({
      run_id: fields.text("run_id", runId),
      after_event_id: fields.longInteger("after_event_id", options.afterEventId),
      limit: fields.integer("limit", options.limit, 0),
    }));
    return readPage(await this.calling.call(RunsService.listEvents, request, options), readEvent);
  }

  /**
   * Every event after `afterEventId`, once and in order, as it comes; ends after the terminal one.
   * Reconnects by itself, also to a daemon that was started anew.
   */
  async *follow(
    runId: string,
    options: { afterEventId?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<RunEvent, void, undefined> {
    const cursor = requests.plain(
      (fields) =>
        new EventCursor(fields.text("run_id", runId), fields.longInteger("after_event_id", options.afterEventId)),
    );
    yield* this.calling.stream(cursor, options.signal);
  }

  /**
   * The events of all runs of a project in the order of their commits, for ever; each once, also across
   * reconnects. Goes on behind an event that was seen with its `position` as `afterPosition`.
   */
  async *watch(options: WatchFilters & { signal?: AbortSignal } = {}): AsyncGenerator<WatchedEvent, void, undefined> {
    yield* this.calling.stream(new WatchCursor(requests.watchEvents(options, this.settings)), options.signal);
  }

  /** The terminal run. Throws WaitTimeoutError when `timeoutSeconds` are over before. */
  async wait(runId: string, options: { timeoutSeconds?: number; signal?: AbortSignal } = {}): Promise<Run> {
    return this.calling.wait(runId, options.timeoutSeconds, options.signal);
  }

  /** Asks a run to end; `cancelled` is false when it had ended already. */
  async cancel(runId: string, options: { reason?: string } & CallOptions = {}): Promise<CancelAnswer> {
    const request = requests.plain((fields) => ({
      run_id: fields.text("run_id", runId),
      reason: fields.text("reason", options.reason),
    }));
    const answer = await this.calling.call(RunsService.cancelRun, request, options);
    return { cancelled: answer.cancelled, run: readRun(answer.run) };
  }

  /** A new run of a failed or cancelled one; `fromFailedStep` keeps a workflow's completed steps. */
  async retry(
    runId: string,
    options: { fromFailedStep?: boolean; idempotencyKey?: string } & CallOptions = {},
  ): Promise<AcceptedAnswer> {
    return readAccepted(await this.calling.call(RunsService.retryRun, requests.retryRun(runId, options), options));
  }

  /** Sends a signal, which is kept until the run waits for one of its name. */
  async signal(
    runId: string,
    name: string,
    payload?: unknown,
    options: { idempotencyKey?: string } & CallOptions = {},
  ): Promise<AcceptedAnswer> {
    const request = requests.signalRun(runId, name, payload, options.idempotencyKey);
    return readAccepted(await this.calling.call(RunsService.signalRun, request, options));
  }

  /** Approves what the run waits for. */
  async approve(runId: string, name: string, options: Decision & CallOptions = {}): Promise<Run> {
    return this.decide(runId, name, true, options);
  }

  /** Rejects what the run waits for. */
  async reject(runId: string, name: string, options: Decision & CallOptions = {}): Promise<Run> {
    return this.decide(runId, name, false, options);
  }

  /** Open calls end with an error. A client that is not closed does not keep the process alive. */
  close(): void {
    this.calling.close();
  }

  private async decide(runId: string, name: string, approved: boolean, options: Decision & CallOptions): Promise<Run> {
    const request = requests.decide(runId, name, approved, options);
    return readRun((await this.calling.call(RunsService.decideApproval, request, options)).run);
  }
}

/** The files that runs left. */
export class ArtifactCalls {
  /** @internal */
  constructor(private readonly calling: Calling) {}

  /** A page, by name; at most `limit` (1 to 1000; 1000). */
  async list(runId: string, options: { cursor?: string; limit?: number } & CallOptions = {}): Promise<Page<Artifact>> {
    const request = requests.plain((fields) => ({
      run_id: fields.text("run_id", runId),
      limit: fields.integer("limit", options.limit, 0),
      page_token: fields.text("page_token", options.cursor),
    }));
    return readPage(await this.calling.call(RunsService.listArtifacts, request, options), (artifact) => artifact);
  }

  /** The content in pieces; goes on where it was when the connection is lost. */
  async *read(
    runId: string,
    name: string,
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const cursor = requests.plain(
      (fields) => new ArtifactCursor(fields.text("run_id", runId), fields.text("name", name)),
    );
    yield* this.calling.stream(cursor, options.signal);
  }
}

/** The definitions that runs execute. */
export class TargetCalls {
  /** @internal */
  constructor(
    private readonly calling: Calling,
    private readonly settings: Settings,
  ) {}

  /** By name, broken ones included; and the problems of what could not be read, whose targets are not known. */
  async list(options: { projectId?: string } & CallOptions = {}): Promise<Definitions> {
    const answer = await this.calling.call(DefinitionsService.listTargets, this.of(options.projectId), options);
    return { data: answer.data.map(readTarget), problems: answer.problems };
  }

  /** Throws NotFoundError, whose message has the nearest names. */
  async get(target: string, options: { projectId?: string } & CallOptions = {}): Promise<Target> {
    const named = requests.plain((fields) => ({ target: fields.text("target", target) }));
    const request = { ...this.of(options.projectId), ...named };
    const answer = await this.calling.call(DefinitionsService.getTarget, request, options);
    return readTarget(answer.target!);
  }

  /** Reads the definitions anew. */
  async reload(options: { projectId?: string } & CallOptions = {}): Promise<ReloadAnswer> {
    const answer = await this.calling.call(DefinitionsService.reload, this.of(options.projectId), options);
    return { data: answer.data.map(readTarget), problems: answer.problems };
  }

  private of(projectId: string | undefined): { project: string } {
    return requests.plain((fields) => ({ project: fields.text("project", projectId ?? this.settings.project) }));
  }
}
