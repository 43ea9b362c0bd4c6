/** `RunsClient.schedules`. Thin: what is sent and how it is read is decided elsewhere. */
import type { Calling, CallOptions } from "./calling.js";
import { readAccepted, readPage } from "./conversion.js";
import { ConflictError, NotFoundError } from "./errors.js";
import type { Fields } from "./fields.js";
import * as wire from "./generated/runs/v1/schedules.js";
import { newKey } from "./creation.js";
import { plain } from "./requests.js";
import { readBackfilled, readOccurrence, readSchedule } from "./schedule-conversion.js";
import * as requests from "./schedule-requests.js";
import type {
  BackfillRange,
  NewSchedule,
  PreviewOptions,
  ScheduleChanges,
  TriggerOptions,
} from "./schedule-requests.js";
import type { BackfilledRun, CreateScheduleAnswer, Occurrence, Schedule } from "./schedule-values.js";
import type { Settings } from "./settings.js";
import type { AcceptedAnswer, Page } from "./values.js";

const { SchedulesService } = wire;

type OfProject = { projectId?: string } & CallOptions;
type Named = { project: string; schedule_id: string };

/**
 * The schedules of a project: what creates its runs later.
 *
 * One that is declared in the project can be read, paused, resumed, triggered and backfilled here; update and
 * delete throw PreconditionError.
 */
export class ScheduleCalls {
  /** @internal */
  constructor(
    private readonly calling: Calling,
    private readonly settings: Settings,
  ) {}

  /** The same id with an equal spec is answered with `duplicate`. Throws AlreadyExistsError when the id is taken. */
  async create(schedule: NewSchedule, options?: CallOptions): Promise<CreateScheduleAnswer> {
    const { scheduleId, projectId, paused, ...rest } = schedule;
    requests.refuseUnknown("create", schedule);
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, projectId),
      spec: requests.changedSpec(fields, wire.ScheduleSpec.create(), rest),
      paused: fields.flag("paused", paused),
    }));
    const answer = await this.calling.call(SchedulesService.createSchedule, request, options);
    return { duplicate: answer.duplicate, schedule: readSchedule(answer.schedule) };
  }

  /** The schedule as it is now. */
  async get(scheduleId: string, options: OfProject = {}): Promise<Schedule> {
    return readSchedule(await this.read(scheduleId, options));
  }

  /** A page of schedules by id; at most `limit` (1 to 1000; 50). */
  async list(options: { cursor?: string; limit?: number } & OfProject = {}): Promise<Page<Schedule>> {
    const request = plain((fields) => ({
      project: this.project(fields, options.projectId),
      limit: fields.integer("limit", options.limit, 0),
      page_token: fields.text("page_token", options.cursor),
    }));
    return readPage(await this.calling.call(SchedulesService.listSchedules, request, options), readSchedule);
  }

  /**
   * Changes just what is given; null unsets, and `everySeconds` takes the place of `cron` and so on.
   *
   * Throws ConflictError when the schedule was changed since it was read: by this method, or when `etag` was
   * got. What is due next is found anew from now on.
   */
  async update(
    scheduleId: string,
    changes: ScheduleChanges,
    options: { etag?: string } & OfProject = {},
  ): Promise<Schedule> {
    requests.refuseUnknown("update", changes);
    const together = oneDeadline(options);
    const current = await this.read(scheduleId, together);
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, options.projectId),
      spec: requests.changedSpec(fields, current.spec ?? wire.ScheduleSpec.create(), changes),
      etag: fields.text("etag", options.etag) || current.etag,
    }));
    try {
      return readSchedule((await this.calling.call(SchedulesService.updateSchedule, request, together)).schedule);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      const there = await this.read(scheduleId, together);
      if (there.spec && requests.isTaken(request.spec, there.spec)) return readSchedule(there);
      throw error;
    }
  }

  /** Makes no more runs until resumed; what would be due meanwhile is not made up for. */
  async pause(scheduleId: string, options: { reason?: string } & OfProject = {}): Promise<Schedule> {
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, options.projectId),
      reason: fields.text("reason", options.reason),
    }));
    return readSchedule((await this.calling.call(SchedulesService.pauseSchedule, request, options)).schedule);
  }

  /** Goes on with the next occurrence from now. */
  async resume(scheduleId: string, options: OfProject = {}): Promise<Schedule> {
    const request = plain((fields) => this.named(fields, scheduleId, options.projectId));
    return readSchedule((await this.calling.call(SchedulesService.resumeSchedule, request, options)).schedule);
  }

  /**
   * Removes a schedule, and gives it as it was. Its runs go on. Throws ConflictError when an `etag` is given and
   * it was changed since.
   */
  async delete(scheduleId: string, options: { etag?: string } & OfProject = {}): Promise<Schedule> {
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, options.projectId),
      etag: fields.text("etag", options.etag),
    }));
    const together = oneDeadline(options);
    const found = await this.get(scheduleId, together);
    try {
      return readSchedule((await this.calling.call(SchedulesService.deleteSchedule, request, together)).schedule);
    } catch (error) {
      if (error instanceof NotFoundError) return found; // it was there: the answer of an earlier try was lost
      throw error;
    }
  }

  /** Creates a run of the schedule now, also of a paused one and beside any others. */
  async trigger(scheduleId: string, options: TriggerOptions & CallOptions = {}): Promise<AcceptedAnswer> {
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, options.projectId),
      run_name: fields.text("run_name", options.runName),
      idempotency_key: fields.text("idempotency_key", options.idempotencyKey) || newKey(),
    }));
    return readAccepted(await this.calling.call(SchedulesService.triggerSchedule, request, options));
  }

  /** When a schedule is due, or a timetable that is given as for `create`. Nothing is created. */
  async preview(options: PreviewOptions & CallOptions): Promise<Occurrence[]> {
    requests.refuseUnknown("preview", options);
    const request = plain((fields) => ({
      project: this.project(fields, options.projectId),
      ...subject(fields, options),
      after: fields.time("after", options.after),
      count: fields.integer("count", options.count, 0),
    }));
    return (await this.calling.call(SchedulesService.previewSchedule, request, options)).data.map(readOccurrence);
  }

  /**
   * Creates the runs of past occurrences, all or none, in order of time; one that has a run keeps it, and is a
   * `duplicate`. Throws InvalidRequestError for more than 1000.
   */
  async backfill(scheduleId: string, options: BackfillRange & OfProject): Promise<BackfilledRun[]> {
    const request = plain((fields) => ({
      ...this.named(fields, scheduleId, options.projectId),
      due_from: fields.time("due_from", options.dueFrom),
      due_before: fields.time("due_before", options.dueBefore),
    }));
    return (await this.calling.call(SchedulesService.backfillSchedule, request, options)).data.map(readBackfilled);
  }

  /** The message itself, to be sent back with changes. */
  private async read(scheduleId: string, options: OfProject): Promise<wire.Schedule> {
    const request = plain((fields) => this.named(fields, scheduleId, options.projectId));
    const answer = await this.calling.call(SchedulesService.getSchedule, request, options);
    return answer.schedule ?? wire.Schedule.create();
  }

  private named(fields: Fields, scheduleId: string, projectId: string | undefined): Named {
    return { project: this.project(fields, projectId), schedule_id: fields.text("schedule_id", scheduleId) };
  }

  private project(fields: Fields, projectId: string | undefined): string {
    return fields.text("project", projectId ?? this.settings.project);
  }
}

function subject(
  fields: Fields,
  options: PreviewOptions,
): Pick<wire.PreviewScheduleRequest, "schedule_id" | "timetable"> {
  if (!options.scheduleId) {
    return { timetable: requests.changedTimetable(fields, wire.Timetable.create(), options) };
  }
  const [other] = requests.timetableOptions(options);
  if (other) fields.refuse("schedule_id", `not together with ${other}; give a schedule or a timetable`);
  return { schedule_id: fields.text("schedule_id", options.scheduleId) };
}

/** For calls that are one to the caller: what is left of the time when each of them begins. */
function oneDeadline({ projectId, signal, deadlineSeconds = Infinity }: OfProject): OfProject {
  const endsAt = performance.now() + deadlineSeconds * 1000;
  return {
    projectId,
    signal,
    get deadlineSeconds() {
      return (endsAt - performance.now()) / 1000;
    },
  };
}
