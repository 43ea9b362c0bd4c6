/** Waiting for a run in calls of limited length, so that a dead connection is noticed. */
import { WaitTimeoutError } from "./errors.js";
import { isTerminal, type Run } from "./values.js";

const LONGEST_CALL_SECONDS = 30;
// 0 would be "without limit" to the daemon. The first call is as short, to know that there is one.
const SHORTEST_CALL_SECONDS = 0.001;

/** Until the run is terminal, or `timeoutSeconds` are over. */
export class Waiting {
  private readonly endsAt: number;
  private latest: Run | undefined;
  private asked = false;

  constructor(
    private readonly runId: string,
    private readonly timeoutSeconds = Infinity,
  ) {
    this.endsAt = performance.now() + timeoutSeconds * 1000;
  }

  /** How long the daemon may take to answer. Throws WaitTimeoutError when the time is over; asks at least once. */
  nextCallSeconds(): number {
    const remaining = this.remainingSeconds();
    if (this.asked && remaining <= 0) throw new WaitTimeoutError(this.runId, this.timeoutSeconds, this.latest);
    const longest = this.asked ? LONGEST_CALL_SECONDS : SHORTEST_CALL_SECONDS;
    this.asked = true;
    return Math.max(SHORTEST_CALL_SECONDS, Math.min(remaining, longest));
  }

  isOver(run: Run): boolean {
    this.latest = run;
    return isTerminal(run.status);
  }

  withinTheTime(delaySeconds: number): number {
    return Math.max(0, Math.min(delaySeconds, this.remainingSeconds()));
  }

  private remainingSeconds(): number {
    return (this.endsAt - performance.now()) / 1000;
  }
}
