/**
 * What a client is set up with, from its options and the environment.
 *
 * A token of the environment belongs to the daemon of the environment: it is never sent to an address
 * that the caller named without a token. The same goes for the run that this process is part of.
 */
import { defaultAddress, parseAddress, type Environment } from "./address.js";
import { ConfigurationError } from "./errors.js";
import { retryPolicy, type OnRetry, type RetryPolicy } from "./retrying.js";

/** PEM, as read from the files. */
export interface TlsOptions {
  /** Who may have signed the daemon's certificate; else the authorities that Node knows. */
  ca?: string | Uint8Array;
  /** The client's own certificate, with `key`, where the daemon asks for one. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
  /** The name in the daemon's certificate, where it is not the host of the address. */
  serverName?: string;
}

export interface RunsClientOptions {
  /** `unix:/path`, `/path` or `host:port`. Else RUNSD_ADDRESS, or the user's own socket. */
  address?: string;
  /** Else RUNSD_API_TOKEN, if the address is that of the environment, too. Empty: none. */
  authToken?: string;
  /** Id of the project. Else RUNSD_PROJECT. Not needed where the daemon has one project. */
  projectReference?: string;
  /** True, or how. A local socket needs none. */
  tls?: boolean | TlsOptions;
  /** What differs from the defaults; false: no retries. */
  retry?: Partial<RetryPolicy> | false;
  /** Told of each failure that is followed by another try, and of the seconds until then. */
  onRetry?: OnRetry;
  /** The largest message, sent or received. 16 MiB. */
  maxMessageBytes?: number;
}

export interface Settings {
  readonly address: string;
  readonly token: string;
  readonly project: string;
  /** The default parent of the runs that are created. */
  readonly parentRunId: string;
  readonly tls: TlsOptions | undefined;
  readonly retry: RetryPolicy;
  readonly onRetry: OnRetry | undefined;
  readonly maxMessageBytes: number;
}

const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Undefined is "from the environment"; an empty string is "none". Throws ConfigurationError. */
export function resolveSettings(options: RunsClientOptions, environment: Environment = process.env): Settings {
  const ownDaemon = options.address === undefined;
  const token = options.authToken ?? (ownDaemon ? (environment["RUNSD_API_TOKEN"] ?? "") : "");
  if (!/^[\x20-\x7e]*$/.test(token)) {
    throw new ConfigurationError("the token holds characters that no token has; check RUNSD_API_TOKEN");
  }
  return {
    address: options.address === undefined ? defaultAddress(environment) : parseAddress(options.address),
    token,
    project: options.projectReference ?? environment["RUNSD_PROJECT"] ?? "",
    parentRunId: ownDaemon ? (environment["RUNSD_RUN_ID"] ?? "") : "",
    tls: options.tls === true ? {} : options.tls || undefined,
    retry: retryPolicy(options.retry),
    onRetry: options.onRetry,
    maxMessageBytes: options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
  };
}
