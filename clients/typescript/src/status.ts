/** From a failed call's status and its google.rpc details to an error of ours. */
import { status, type ServiceError } from "@grpc/grpc-js";

import {
  AlreadyExistsError,
  ConfigurationError,
  ConflictError,
  InvalidRequestError,
  NotFoundError,
  OverloadedError,
  PermissionDeniedError,
  PreconditionError,
  RunsError,
  UnreachableError,
  type ErrorFacts,
  type FieldViolation,
} from "./errors.js";
import { BadRequest, ErrorInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";

const DOMAIN = "runsd";
const DETAILS_KEY = "grpc-status-details-bin";

const PLAIN = new Map<status, new (message: string, facts: ErrorFacts) => RunsError>([
  [status.NOT_FOUND, NotFoundError],
  [status.ALREADY_EXISTS, AlreadyExistsError],
  [status.FAILED_PRECONDITION, PreconditionError],
  [status.ABORTED, ConflictError],
  [status.PERMISSION_DENIED, PermissionDeniedError],
  [status.RESOURCE_EXHAUSTED, OverloadedError],
]);
const INVALID = new Set([status.INVALID_ARGUMENT, status.OUT_OF_RANGE]);
const GONE = new Set([status.UNAVAILABLE, status.CANCELLED, status.DEADLINE_EXCEEDED]);
// What gRPC itself says under other codes when a connection breaks in the middle of a call.
const BROKEN_CONNECTION = /RST_STREAM|Stream removed|Socket closed|GOAWAY|Connection dropped|ECONNRESET/;
const TOO_LARGE = /message (larger than max|with a size larger)/;

// What gRPC writes around the cause.
const CAUSE = /Last error: (?:Error: )?(.*?)\.? Resolution note:.*$/s;

/** `reason` is empty when the status is not the daemon's own but came up on the way. */
interface Failure {
  code: status;
  message: string;
  reason: string;
  violations: FieldViolation[];
}

export function errorOf(error: ServiceError, address: string): RunsError {
  const failure = read(error);
  const facts = { code: status[failure.code] ?? "UNKNOWN", reason: failure.reason };
  if (GONE.has(failure.code) || isBrokenConnection(failure)) return unreachable(failure, facts, address);
  if (INVALID.has(failure.code)) return new InvalidRequestError(failure.violations, failure.message, facts);
  if (failure.code === status.UNAUTHENTICATED) {
    return new ConfigurationError(`${failure.message}; set RUNSD_API_TOKEN to a token of this daemon`, facts);
  }
  if (TOO_LARGE.test(failure.message) && !failure.reason) {
    return new RunsError(`too much for one message: ${failure.message}`, { ...facts, reason: "MESSAGE_TOO_LARGE" });
  }
  if (failure.code === status.UNIMPLEMENTED) {
    const guess = `the daemon at ${address} does not know this call; is it older than this client?`;
    return new RunsError(`${guess} (${failure.message})`, facts);
  }
  return new (PLAIN.get(failure.code) ?? RunsError)(failure.message, facts);
}

function read(error: ServiceError): Failure {
  const code = error.code ?? status.UNKNOWN;
  const failure: Failure = { code, message: error.details || error.message, reason: "", violations: [] };
  const packed = error.metadata?.get(DETAILS_KEY)[0];
  if (!(packed instanceof Uint8Array)) return failure;
  try {
    readDetails(Status.decode(packed), failure);
  } catch {
    // Details that cannot be read are somebody else's; code and message still stand.
  }
  return failure;
}

function readDetails(told: Status, failure: Failure): void {
  failure.message = told.message || failure.message;
  for (const { type_url, value } of told.details) {
    if (type_url.endsWith("/google.rpc.ErrorInfo")) {
      const info = ErrorInfo.decode(value);
      if (info.domain === DOMAIN) failure.reason = info.reason;
    } else if (type_url.endsWith("/google.rpc.BadRequest")) {
      const violations = BadRequest.decode(value).field_violations;
      failure.violations = violations.map(({ field, description }) => ({ field, description }));
    }
  }
}

function isBrokenConnection(failure: Failure): boolean {
  const byGrpc = [status.INTERNAL, status.UNKNOWN].includes(failure.code) && !failure.reason;
  return byGrpc && BROKEN_CONNECTION.test(failure.message);
}

function unreachable(failure: Failure, facts: ErrorFacts, address: string): UnreachableError {
  if (failure.reason) return new UnreachableError(`${failure.message} (${address})`, address, facts);
  if (failure.code === status.DEADLINE_EXCEEDED) {
    return new UnreachableError(`the daemon at ${address} does not answer`, address, facts);
  }
  const cause = CAUSE.exec(failure.message)?.[1] ?? failure.message;
  const hint = "`runsd serve` starts one, RUNSD_ADDRESS names another";
  return new UnreachableError(`no daemon at ${address}: ${cause}; ${hint}`, address, facts);
}
