/** One channel to the daemon: calls go out, answers or our errors come back. Nothing is tried again here. */
import { setMaxListeners } from "node:events";

import * as grpc from "@grpc/grpc-js";

import { ConfigurationError, RunsError } from "./errors.js";
import type { Settings } from "./settings.js";
import { errorOf } from "./status.js";

/** A method of the contract, as the generated service definitions have it. */
export interface Method<Request, Answer> {
  readonly path: string;
  readonly requestSerialize: (request: Request) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Answer;
}

interface Cancellable {
  cancel(): void;
}

export class Transport {
  private readonly client: grpc.Client;
  private readonly open = new Set<Cancellable>();
  private closed = false;

  constructor(private readonly settings: Settings) {
    this.client = new grpc.Client(settings.address, credentialsOf(settings), channelOptions(settings));
  }

  /** One answer within `seconds`. Throws RunsError, or the signal's reason. */
  unary<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    seconds: number,
    signal?: AbortSignal,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.checkOpen(signal);
      const call = this.client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.metadata(),
        { deadline: Date.now() + seconds * 1000 },
        (error, answer) => {
          release();
          if (error || answer === undefined) reject(this.failure(error, signal));
          else resolve(answer);
        },
      );
      const release = this.track(call, signal);
    });
  }

  /** The answers as they come, no faster than they are taken. Throws as `unary`. */
  async *stream<Request, Answer>(
    method: Method<Request, Answer>,
    request: Request,
    signal?: AbortSignal,
  ): AsyncGenerator<Answer, void, undefined> {
    this.checkOpen(signal);
    const { path, requestSerialize, responseDeserialize } = method;
    const call = this.client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.metadata(),
    );
    let error: grpc.ServiceError | null = null;
    // Also after the loop: cancelling ends a stream with an error that nobody else takes.
    call.on("error", (failure: grpc.ServiceError) => (error ??= failure));
    const release = this.track(call, signal);
    try {
      for await (const answer of call) yield answer as Answer;
    } catch (failure) {
      throw error ? this.failure(error, signal) : failure;
    } finally {
      release();
      call.cancel();
    }
    if (error) throw this.failure(error, signal);
  }

  /** Open calls end with an error. */
  close(): void {
    this.closed = true;
    for (const call of this.open) call.cancel();
    this.client.close();
  }

  private checkOpen(signal?: AbortSignal): void {
    signal?.throwIfAborted();
    if (this.closed) throw closedError();
  }

  private failure(error: grpc.ServiceError | null, signal?: AbortSignal): unknown {
    if (signal?.aborted) return signal.reason;
    if (this.closed) return closedError();
    return error ? errorOf(error, this.settings.address) : new RunsError("the daemon sent no answer");
  }

  private metadata(): grpc.Metadata {
    const metadata = new grpc.Metadata();
    if (this.settings.token) metadata.set("authorization", `Bearer ${this.settings.token}`);
    return metadata;
  }

  private track(call: Cancellable, signal?: AbortSignal): () => void {
    const cancel = (): void => call.cancel();
    this.open.add(call);
    // One signal may end any number of calls, which is no leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener("abort", cancel, { once: true });
    return () => {
      this.open.delete(call);
      signal?.removeEventListener("abort", cancel);
    };
  }
}

function closedError(): RunsError {
  return new RunsError("the client is closed", { code: "CANCELLED", reason: "CLIENT_CLOSED" });
}

function credentialsOf({ tls }: Settings): grpc.ChannelCredentials {
  if (!tls) return grpc.credentials.createInsecure();
  const pem = (text: string | Uint8Array | undefined): Buffer | null => (text ? Buffer.from(text) : null);
  try {
    return grpc.credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
  } catch (error) {
    const cause = error instanceof Error ? error.message : String(error);
    throw new ConfigurationError(`the TLS options cannot be used: ${cause}`, {
      code: "INVALID_ARGUMENT",
      reason: "TLS",
    });
  }
}

function channelOptions({ maxMessageBytes, tls }: Settings): grpc.ChannelOptions {
  const options: grpc.ChannelOptions = {
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": maxMessageBytes,
    // As often as servers allow unasked; more often, and they close the connection.
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_timeout_ms": 20_000,
    // gRPC waits up to two minutes before it looks for a daemon that was away.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    // A proxy of the environment is for the web, and would see the token.
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
  };
  if (tls?.serverName) {
    options["grpc.ssl_target_name_override"] = tls.serverName;
    options["grpc.default_authority"] = tls.serverName;
  }
  return options;
}
