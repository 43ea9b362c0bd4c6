/** Between the messages of the wire and values. */
import { readDocument, readObject } from "./documents.js";
import { Timestamp } from "./generated/google/protobuf/timestamp.js";
import type * as definitions from "./generated/runs/v1/definitions.js";
import * as wire from "./generated/runs/v1/run.js";
import type { WatchedEvent } from "./generated/runs/v1/runs.js";
import type * as values from "./values.js";

/** The string `"completed"` for RUN_STATUS_COMPLETED, and back. */
export class Names<Name extends string> {
  private readonly numbers: Map<Name, number>;
  private readonly names: Map<number, Name>;

  constructor(members: Record<string, string | number>, prefix: string) {
    const pairs = Object.entries(members).filter((pair): pair is [string, number] => Number(pair[1]) >= 0);
    const named = pairs.map(([name, number]) => [name.slice(prefix.length).toLowerCase() as Name, number] as const);
    this.numbers = new Map(named);
    this.names = new Map(named.map(([name, number]) => [number, name]));
  }

  /** A number that is not known is `unspecified`. */
  name(number: number): Name {
    return this.names.get(number) ?? this.names.get(0)!;
  }

  /** Throws TypeError that lists what is allowed. */
  number(name: Name): number {
    const number = this.numbers.get(name);
    if (number !== undefined) return number;
    const allowed = [...this.numbers.keys()].filter((known) => known !== "unspecified").join(", ");
    throw new TypeError(`${JSON.stringify(name)} is none of ${allowed}`);
  }
}

export const KINDS = new Names<values.RunKind>(wire.RunKind, "RUN_KIND_");
export const STATUSES = new Names<values.RunStatus>(wire.RunStatus, "RUN_STATUS_");
export const TRIGGER_KINDS = new Names<values.TriggerKind>(wire.TriggerKind, "TRIGGER_KIND_");
const STEP_KINDS = new Names<values.StepKind>(wire.StepKind, "STEP_KIND_");
const STEP_STATES = new Names<values.StepState>(wire.StepState, "STEP_STATE_");

export function readRun(message: wire.Run | undefined): values.Run {
  const { input_json, config_json, output_json, metadata_json, ...same } = message ?? wire.Run.create();
  return {
    ...same,
    kind: KINDS.name(same.kind),
    status: STATUSES.name(same.status),
    input: readDocument(input_json),
    config: readDocument(config_json),
    output: readDocument(output_json),
    error: readError(same.error),
    duration_ms: same.duration_ms ?? null,
    exit_code: same.exit_code ?? null,
    created_at: readTime(same.created_at),
    started_at: readTime(same.started_at),
    completed_at: readTime(same.completed_at),
    updated_at: readTime(same.updated_at),
    trigger_kind: TRIGGER_KINDS.name(same.trigger_kind),
    metadata: readObject(metadata_json) ?? {},
    start_after: readTime(same.start_after),
    expires_after: readTime(same.expires_after),
    scheduled_for: readTime(same.scheduled_for),
    steps: same.steps.map(readStep),
  };
}

function readStep(message: wire.Step): values.Step {
  const { output_json, ...same } = message;
  return {
    ...same,
    kind: STEP_KINDS.name(same.kind),
    state: STEP_STATES.name(same.state),
    output: readDocument(output_json),
    error: readError(same.error),
    started_at: readTime(same.started_at),
    completed_at: readTime(same.completed_at),
    until: readTime(same.until),
  };
}

export function readEvent(message: wire.Event): values.RunEvent {
  return {
    event_id: message.event_id,
    event_type: message.event_type,
    payload: readObject(message.payload_json) ?? {},
    created_at: readTime(message.created_at),
  };
}

export function readWatchedEvent(message: WatchedEvent): values.WatchedEvent {
  const { position, run_id, target, event, schedule_id } = message;
  return { position, run_id, target, event: readEvent(event ?? wire.Event.create()), schedule_id };
}

export function readTarget(message: definitions.Target): values.Target {
  const { input_schema_json, config_schema_json, output_schema_json, ...same } = message;
  return {
    ...same,
    kind: KINDS.name(same.kind),
    input_schema: readDocument(input_schema_json),
    config_schema: readDocument(config_schema_json),
    output_schema: readDocument(output_schema_json),
  };
}

export function readPage<Message, Item>(
  answer: { data: Message[]; page_info?: wire.PageInfo | undefined },
  read: (message: Message) => Item,
): values.Page<Item> {
  return { data: answer.data.map(read), page_info: answer.page_info ?? wire.PageInfo.create() };
}

export function readAccepted(answer: {
  accepted: boolean;
  duplicate: boolean;
  run?: wire.Run | undefined;
}): values.AcceptedAnswer {
  return { accepted: answer.accepted, duplicate: answer.duplicate, run: readRun(answer.run) };
}

function readError(message: wire.RunError | undefined): values.RunError | null {
  if (!message) return null;
  return { message: message.message, code: message.code, detail: readDocument(message.detail_json) };
}

export function readTime(moment: Timestamp | undefined): string | null {
  return moment ? readMoment(moment) : null;
}

/** RFC 3339 in UTC, of what is always set; a Date has no microseconds. */
export function readMoment(moment = Timestamp.create()): string {
  const seconds = new Date(moment.seconds * 1000).toISOString().slice(0, -"000Z".length);
  const micros = String(Math.floor(moment.nanos / 1000)).padStart(6, "0");
  return `${seconds}${micros.endsWith("000") ? micros.slice(0, 3) : micros}Z`;
}
