/** When a failed call is made again, and after how long. No I/O: who calls also sleeps. */
import type { RunsError } from "./errors.js";

export type OnRetry = (error: RunsError, delaySeconds: number) => void;

/**
 * Tries after the first, with delays that double from `initialSeconds` to `maxSeconds`.
 *
 * A stream or a wait that has once been connected is not held to `retries`: it goes on until
 * `reconnectForSeconds` have been waited in vain, by default for ever.
 */
export interface RetryPolicy {
  readonly retries: number;
  readonly initialSeconds: number;
  readonly maxSeconds: number;
  readonly reconnectForSeconds: number;
}

const DEFAULTS: RetryPolicy = { retries: 3, initialSeconds: 1, maxSeconds: 10, reconnectForSeconds: Infinity };

export function retryPolicy(options: Partial<RetryPolicy> | false = {}): RetryPolicy {
  return options === false ? { ...DEFAULTS, retries: 0 } : { ...DEFAULTS, ...options };
}

/** The tries of one call or stream; none begins after `endsAt`, in milliseconds of `performance.now()`. */
export class Tries {
  private failures = 0;
  private waitedSeconds = 0;
  private connected = false;

  constructor(
    private readonly policy: RetryPolicy,
    private readonly onRetry?: OnRetry,
    private readonly endsAt = Infinity,
  ) {}

  succeeded(): void {
    this.connected = true;
    this.failures = 0;
    this.waitedSeconds = 0;
  }

  /** Seconds until the next try; throws `error` when there is none. */
  after(error: RunsError): number {
    this.failures += 1;
    if (!error.transient || this.isOver()) throw error;
    const delay = this.delaySeconds();
    if (performance.now() + delay * 1000 >= this.endsAt) throw error;
    this.waitedSeconds += delay;
    this.onRetry?.(error, delay);
    return delay;
  }

  private isOver(): boolean {
    if (this.connected) return this.waitedSeconds >= this.policy.reconnectForSeconds;
    return this.failures > this.policy.retries;
  }

  /** Up to a fifth shorter, so that the clients of a restarted daemon do not come all at once. */
  private delaySeconds(): number {
    const longest = Math.min(this.policy.maxSeconds, this.policy.initialSeconds * 2 ** (this.failures - 1));
    return longest * (0.8 + 0.2 * Math.random());
  }
}
