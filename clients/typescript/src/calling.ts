/**
 * Calls, waits and streams that are tried again when nobody answered, or the daemon had no room.
 *
 * Every call of this client is safe to make again: reads, cancel and reload by nature, creates, signals
 * and decisions because they always carry an idempotency key. So is what is done to a schedule: create with an
 * equal spec and backfill by nature, trigger by its key, update by the etag.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { readRun } from "./conversion.js";
import type { Cursor, Look } from "./cursors.js";
import { RunsError, UnreachableError } from "./errors.js";
import { RunsService } from "./generated/runs/v1/runs.js";
import { Tries } from "./retrying.js";
import type { Settings } from "./settings.js";
import { Transport, type Method } from "./transport.js";
import type { Run } from "./values.js";
import { Waiting } from "./waiting.js";

/** What can be said about any call. */
export interface CallOptions {
  /** Ends the call, which then throws the signal's reason. */
  signal?: AbortSignal;
  /** How long the call may take, with its retries. Else 30 s for each try. */
  deadlineSeconds?: number;
}

// An answer may take this long before the daemon counts as gone.
const CALL_SECONDS = 30;

export class Calling {
  private readonly transport: Transport;

  constructor(private readonly settings: Settings) {
    this.transport = new Transport(settings);
  }

  close(): void {
    this.transport.close();
  }

  async call<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    { signal, deadlineSeconds = Infinity }: CallOptions = {},
  ): Promise<Answer> {
    const endsAt = performance.now() + deadlineSeconds * 1000;
    const tries = this.tries(endsAt);
    for (;;) {
      const seconds = Math.min(CALL_SECONDS, (endsAt - performance.now()) / 1000);
      try {
        return await this.transport.unary(method, request, seconds, signal);
      } catch (error) {
        await pause(tries.after(ownError(error)), signal);
      }
    }
  }

  /** The terminal run. Throws WaitTimeoutError. */
  async wait(runId: string, timeoutSeconds: number | undefined, signal?: AbortSignal): Promise<Run> {
    const [waiting, tries] = [new Waiting(runId, timeoutSeconds), this.tries()];
    for (;;) {
      const seconds = waiting.nextCallSeconds();
      const request = { run_id: runId, timeout_seconds: seconds };
      try {
        const answer = await this.transport.unary(RunsService.waitRun, request, seconds + CALL_SECONDS, signal);
        tries.succeeded();
        const run = readRun(answer.run);
        if (waiting.isOver(run)) return run;
      } catch (error) {
        await pause(waiting.withinTheTime(tries.after(ownError(error))), signal);
      }
    }
  }

  /** The items that the cursor stands before, across all reconnects. */
  async *stream<Request, Answer, Item, LookRequest, LookAnswer>(
    cursor: Cursor<Request, Answer, Item, LookRequest, LookAnswer>,
    signal?: AbortSignal,
  ): AsyncGenerator<Item, void, undefined> {
    const tries = this.tries();
    const first = cursor.firstLook();
    if (first) {
      yield* untilAborted(await this.look(first, signal), signal);
      tries.succeeded();
    }
    while (!cursor.finished) {
      try {
        yield* this.streamOnce(cursor, tries, signal);
        if (!cursor.finished) throw this.earlyEnd();
      } catch (error) {
        await pause(tries.after(ownError(error)), signal);
      }
    }
  }

  private async *streamOnce<Request, Answer, Item, LookRequest, LookAnswer>(
    cursor: Cursor<Request, Answer, Item, LookRequest, LookAnswer>,
    tries: Tries,
    signal?: AbortSignal,
  ): AsyncGenerator<Item, void, undefined> {
    for await (const answer of this.transport.stream(cursor.method, cursor.request(), signal)) {
      tries.succeeded();
      yield* untilAborted(cursor.accept(answer), signal);
      if (cursor.finished) return;
    }
    const last = cursor.lastLook();
    if (!last) return;
    const answer = await this.transport.unary(last.method, last.request, CALL_SECONDS, signal);
    yield* untilAborted(last.accept(answer), signal);
  }

  private async look<Request, Answer, Item>(look: Look<Request, Answer, Item>, signal?: AbortSignal): Promise<Item[]> {
    return look.accept(await this.call(look.method, look.request, { signal }));
  }

  private tries(endsAt?: number): Tries {
    return new Tries(this.settings.retry, this.settings.onRetry, endsAt);
  }

  /** The daemon ended a stream that has more to come; taken like a lost connection. */
  private earlyEnd(): RunsError {
    const { address } = this.settings;
    return new UnreachableError(`the daemon at ${address} ended a stream early`, address);
  }
}

/** What is no error of ours, such as an abort, is nothing to try again after. */
function ownError(error: unknown): RunsError {
  if (error instanceof RunsError) return error;
  throw error;
}

/** An answer holds many items, and nobody wants the rest of them after an abort. */
function* untilAborted<Item>(items: Item[], signal?: AbortSignal): Generator<Item, void, undefined> {
  for (const item of items) {
    signal?.throwIfAborted();
    yield item;
  }
}

async function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(seconds * 1000, undefined, { signal });
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
}
