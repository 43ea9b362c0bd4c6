/**
 * Where the daemon is: the rule of the daemon and of the Python client.
 *
 * An address is `unix:/path`, an absolute path, or `host:port`; here it always leaves as the first or
 * the last of these.
 */
import { lstatSync } from "node:fs";

import { ConfigurationError } from "./errors.js";

export type Environment = Readonly<Record<string, string | undefined>>;

const MAX_SOCKET_PATH_BYTES = 107;

/** `RUNSD_ADDRESS`, else the user's own socket. Throws ConfigurationError. */
export function defaultAddress(environment: Environment): string {
  if (environment["RUNSD_ADDRESS"]) return parseAddress(environment["RUNSD_ADDRESS"]);
  const runtimeDirectory = environment["XDG_RUNTIME_DIR"];
  if (runtimeDirectory) return parseAddress(`unix:${runtimeDirectory}/runsd/runsd.sock`);
  const directory = `/tmp/runsd-${process.getuid?.()}`;
  refuseStrangers(directory);
  return parseAddress(`unix:${directory}/runsd.sock`);
}

/** `unix:/path` or `host:port`. Throws ConfigurationError that says what an address looks like. */
export function parseAddress(text: string): string {
  if (text.startsWith("/")) return socketAddress(text, text);
  if (text.startsWith("unix:")) return socketAddress(text, text.slice("unix:".length).replace(/^\/\//, ""));
  const colon = text.lastIndexOf(":");
  const [host, port] = [text.slice(0, Math.max(colon, 0)), text.slice(colon + 1)];
  if (!isHost(host) || !/^\d+$/.test(port) || Number(port) < 1 || Number(port) > 65535) {
    throw wrong(text, "an address is unix:/path, /path or host:port");
  }
  return text;
}

function socketAddress(text: string, path: string): string {
  if (!path.startsWith("/") || path.includes("\0")) throw wrong(text, "the path of a socket must be absolute");
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw wrong(text, `the path of a socket may have ${MAX_SOCKET_PATH_BYTES} bytes`);
  }
  return `unix:${path}`;
}

function isHost(host: string): boolean {
  const bracketed = host.startsWith("[") && host.endsWith("]");
  return host !== "" && !/[\s/\p{C}]/u.test(host) && (bracketed || !host.includes(":"));
}

function wrong(text: string, rule: string): ConfigurationError {
  const message = `${JSON.stringify(text)} is not an address: ${rule}`;
  return new ConfigurationError(message, { code: "INVALID_ARGUMENT", reason: "ADDRESS" });
}

/** Anybody may create a directory in /tmp, and listen there for what is meant for our daemon. */
function refuseStrangers(directory: string): void {
  const found = lstatSync(directory, { throwIfNoEntry: false });
  if (!found || (found.uid === process.getuid?.() && found.isDirectory())) return;
  throw new ConfigurationError(`${directory} is not a directory of this user; set RUNSD_ADDRESS or XDG_RUNTIME_DIR`, {
    code: "PERMISSION_DENIED",
    reason: "ADDRESS",
  });
}
