/**
 * How far a stream has come, so that it goes on from there when its connection is lost.
 *
 * A cursor says what to ask for next and takes what comes; it never lets an item pass twice and never
 * misses one, however often the stream breaks. No I/O: `calling` opens the streams.
 */
import { readEvent, readWatchedEvent } from "./conversion.js";
import { RunsError } from "./errors.js";
import {
  EventsRequest,
  ListEventsRequest,
  ReadArtifactRequest,
  RunsService,
  type EventsResponse,
  type ListEventsResponse,
  type ReadArtifactResponse,
  type WatchEventsRequest,
  type WatchEventsResponse,
} from "./generated/runs/v1/runs.js";
import type { Event } from "./generated/runs/v1/run.js";
import type { Method } from "./transport.js";
import { isTerminalEvent, type RunEvent, type WatchedEvent } from "./values.js";

/** A call to make beside the stream. */
export interface Look<Request, Answer, Item> {
  readonly method: Method<Request, Answer>;
  readonly request: Request;
  readonly accept: (answer: Answer) => Item[];
}

export interface Cursor<Request, Answer, Item, LookRequest = never, LookAnswer = never> {
  readonly method: Method<Request, Answer>;
  /** True when no more items come. */
  readonly finished: boolean;
  /** What to ask for to go on. */
  request(): Request;
  /** The items of an answer that are new. */
  accept(answer: Answer): Item[];
  /** A call to make before the stream, where the stream itself may be silent for long. */
  firstLook(): Look<LookRequest, LookAnswer, Item> | undefined;
  /** Told that the daemon ended the stream with OK; may want a call to know whether it is the end. */
  lastLook(): Look<LookRequest, LookAnswer, Item> | undefined;
}

/** A run's events up to the terminal one. */
export class EventCursor implements Cursor<
  EventsRequest,
  EventsResponse,
  RunEvent,
  ListEventsRequest,
  ListEventsResponse
> {
  readonly method = RunsService.events;
  finished = false;

  constructor(
    private readonly runId: string,
    private after: number,
  ) {}

  request(): EventsRequest {
    return { run_id: this.runId, after_event_id: this.after, follow: true };
  }

  accept(answer: EventsResponse): RunEvent[] {
    return this.advance(answer.data);
  }

  /** Tells whether there is a daemon and a run, however long the next event takes to come. */
  firstLook(): Look<ListEventsRequest, ListEventsResponse, RunEvent> {
    return {
      method: RunsService.listEvents,
      request: { run_id: this.runId, after_event_id: this.after, limit: 0 },
      accept: (answer) => {
        const events = this.advance(answer.data);
        this.finished ||= !answer.page_info?.next;
        return events;
      },
    };
  }

  /** A stopping daemon may end the stream early, and nothing may come after a cursor at the end. */
  lastLook(): Look<ListEventsRequest, ListEventsResponse, RunEvent> {
    return this.firstLook();
  }

  private advance(messages: readonly Event[]): RunEvent[] {
    const events = messages.filter((message) => message.event_id > this.after).map(readEvent);
    for (const event of events) {
      if (event.event_id !== this.after + 1) throw this.missing(event);
      this.after = event.event_id;
      this.finished ||= isTerminalEvent(event);
    }
    return events;
  }

  private missing(event: RunEvent): RunsError {
    const message = `run ${this.runId}: event ${event.event_id} came after ${this.after}; some are missing`;
    return new RunsError(message, { code: "DATA_LOSS", reason: "EVENTS_MISSING" });
  }
}

/** The events of a project, for ever. */
export class WatchCursor implements Cursor<WatchEventsRequest, WatchEventsResponse, WatchedEvent> {
  readonly method = RunsService.watchEvents;
  readonly finished = false;

  constructor(private readonly asked: WatchEventsRequest) {}

  request(): WatchEventsRequest {
    return this.asked;
  }

  /** Also an answer without events tells how far the stream has come. */
  accept(answer: WatchEventsResponse): WatchedEvent[] {
    const seen = this.asked.after_position ?? -1;
    const fresh = answer.data.filter((message) => message.position > seen);
    this.asked.after_position = Math.max(seen, answer.position, fresh.at(-1)?.position ?? 0);
    return fresh.map(readWatchedEvent);
  }

  firstLook(): undefined {
    return undefined;
  }

  /** A stream without an end that ended is one to reconnect. */
  lastLook(): undefined {
    return undefined;
  }
}

/** The bytes of an artifact. */
export class ArtifactCursor implements Cursor<ReadArtifactRequest, ReadArtifactResponse, Uint8Array> {
  readonly method = RunsService.readArtifact;
  finished = false;
  private offset = 0;

  constructor(
    private readonly runId: string,
    private readonly name: string,
  ) {}

  request(): ReadArtifactRequest {
    return { run_id: this.runId, name: this.name, offset: this.offset };
  }

  accept(answer: ReadArtifactResponse): Uint8Array[] {
    this.offset += answer.data.length;
    return answer.data.length > 0 ? [answer.data] : [];
  }

  firstLook(): undefined {
    return undefined;
  }

  lastLook(): undefined {
    this.finished = true;
    return undefined;
  }
}
