/** A real daemon in a process of its own, on directories of its own. Python is RUNSD_PYTHON, or `python3`. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { createRunsClient, type RunsClient, type RunsClientOptions } from "runsd-client";

export const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const PROJECT = fileURLToPath(new URL("../tests/project", import.meta.url));
const PYTHON = process.env["RUNSD_PYTHON"] ?? "python3";
const SETTINGS = `
[cancel]
grace_seconds = 0.5
`;

export class Daemon {
  readonly directory = mkdtempSync(join(tmpdir(), "runsd-ts-"));
  readonly address = `unix:${this.directory}/runsd.sock`;
  private readonly clients: RunsClient[] = [];
  private process: ChildProcess | undefined;

  constructor(
    private readonly project = PROJECT,
    private readonly settings = SETTINGS,
  ) {}

  static async started(): Promise<Daemon> {
    const daemon = new Daemon();
    await daemon.start();
    return daemon;
  }

  client(options: RunsClientOptions = {}): RunsClient {
    const client = createRunsClient({ address: this.address, ...options });
    this.clients.push(client);
    return client;
  }

  get isRunning(): boolean {
    return this.process !== undefined && this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Resolves when the daemon accepts calls. */
  async start(): Promise<void> {
    const config = join(this.directory, "runsd.toml");
    writeFileSync(config, this.settings);
    const options = ["--project", this.project, "--state-dir", join(this.directory, "state"), "--listen", this.address];
    this.process = spawn(PYTHON, ["-m", "runsd.cli", "serve", "--config", config, ...options], {
      env: environment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    await this.ready(this.process);
  }

  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  async stop(): Promise<void> {
    for (const client of this.clients) client.close();
    await this.end("SIGTERM");
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.process;
    if (!child || !this.isRunning) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  private async ready(child: ChildProcess): Promise<void> {
    const said: string[] = [];
    const lines = createInterface({ input: child.stderr! });
    await new Promise<void>((resolve, reject) => {
      child.once("error", reject);
      lines.on("line", (line) => {
        said.push(line);
        if (/"event": ?"ready"/.test(line)) resolve();
      });
      lines.once("close", () => reject(new Error(`the daemon did not get ready:\n${said.join("\n")}`)));
    });
  }
}

/** The repository's Python code, whether or not it is installed, and the programs beside that Python. */
function environment(): NodeJS.ProcessEnv {
  const sources = [REPOSITORY, join(REPOSITORY, "clients/python"), process.env["PYTHONPATH"] ?? ""];
  // The settings of whoever runs the tests are not the daemon's, which refuses what it does not know.
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("RUNSD_"));
  return {
    ...Object.fromEntries(others),
    PYTHONPATH: sources.filter(Boolean).join(delimiter),
    PATH: [PYTHON.includes("/") ? dirname(PYTHON) : "", process.env["PATH"] ?? ""].filter(Boolean).join(delimiter),
  };
}
