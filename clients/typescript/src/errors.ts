/**
 * Errors by what the caller can do about them.
 *
 * All are RunsError; `code` is the gRPC status by name, `reason` is for programs (capitals, stable),
 * `message` is for people. A `transient` error may be gone when the same call is made again.
 */
import type { Run } from "./values.js";

export interface ErrorFacts {
  code?: string;
  reason?: string;
}

/** Something went wrong that no other class of this module describes. */
export class RunsError extends Error {
  readonly code: string;
  readonly reason: string;

  constructor(message: string, { code = "UNKNOWN", reason = "" }: ErrorFacts = {}) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.reason = reason || code;
  }

  get transient(): boolean {
    return false;
  }
}

/** `field` is the request's field, such as `input_json`. */
export interface FieldViolation {
  field: string;
  description: string;
}

/** Send something else; `violations` names every field at fault. */
export class InvalidRequestError extends RunsError {
  readonly violations: readonly FieldViolation[];

  constructor(violations: readonly FieldViolation[], message = "", facts: ErrorFacts = {}) {
    const described = violations.map((violation) => `${violation.field}: ${violation.description}`).join("; ");
    super(message || described, {
      code: facts.code || "INVALID_ARGUMENT",
      reason: facts.reason || "INVALID_REQUEST",
    });
    this.violations = violations;
  }
}

/** There is no such run, target, schedule, project or artifact. */
export class NotFoundError extends RunsError {}

/** The idempotency key belongs to another request, or the id to another schedule. */
export class AlreadyExistsError extends RunsError {}

/** The state of things forbids it now; the message says what would have to change. */
export class PreconditionError extends RunsError {}

/** It has changed since it was read; read it again and decide anew. */
export class ConflictError extends RunsError {}

/** Somebody else may do it; the message says who. */
export class PermissionDeniedError extends RunsError {}

/** The daemon has no room for it now; the same call may go through later. */
export class OverloadedError extends RunsError {
  override get transient(): boolean {
    return true;
  }
}

/** No daemon answers at `address`. */
export class UnreachableError extends RunsError {
  readonly address: string;

  constructor(message: string, address: string, facts: ErrorFacts = {}) {
    super(message, { code: facts.code || "UNAVAILABLE", reason: facts.reason || "UNREACHABLE" });
    this.address = address;
  }

  override get transient(): boolean {
    return true;
  }
}

/** The time is over and the run is not; `run` is its latest record, if one came. */
export class WaitTimeoutError extends RunsError {
  readonly runId: string;
  readonly run: Run | undefined;

  constructor(runId: string, seconds: number, run: Run | undefined) {
    const state = run ? `is ${run.status}` : "did not answer";
    super(`run ${runId} ${state} after ${seconds} s; it goes on`, {
      code: "DEADLINE_EXCEEDED",
      reason: "WAIT_TIMEOUT",
    });
    this.runId = runId;
    this.run = run;
  }
}

/** An address, a token or a project is missing or wrong; the message says which to set. */
export class ConfigurationError extends RunsError {
  constructor(message: string, { code = "UNAUTHENTICATED", reason = "CONFIGURATION" }: ErrorFacts = {}) {
    super(message, { code, reason });
  }
}
