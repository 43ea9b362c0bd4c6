/** What npm would publish, installed into an empty project. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Daemon } from "./daemon.js";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const CONSUMER = `
import { createRunsClient, type Run } from "runsd-client";
const runs = createRunsClient();
const { run } = await runs.createTaskRun({ target: "task:echo", input: { n: 2n ** 60n } });
const ended: Run = await runs.wait(run.run_id, { timeoutSeconds: 30 });
console.log(ended.status, ended.output);
`;

const directory = mkdtempSync(join(tmpdir(), "runsd-ts-pack-"));
let daemon: Daemon;
before(async () => (daemon = await Daemon.started()));
after(async () => {
  await daemon?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test("the packed package installs into an empty project, type-checks and works", () => {
  const run = (command: string, options: string[], env = process.env): string =>
    execFileSync(command, options, { cwd: directory, encoding: "utf8", env, stdio: ["ignore", "pipe", "inherit"] });
  // The tests have just built it, and use it.
  const packed = run("npm", ["pack", PACKAGE, "--json", "--ignore-scripts", "--pack-destination", directory]);
  const found: unknown = JSON.parse(packed);
  const [archive] = Object.values(found as Record<string, { filename: string; files: { path: string }[] }>);
  assert.ok(archive);
  const unwanted = archive.files.filter(({ path }) => !/^(dist\/|package\.json$|README\.md$|LICENSE$)/.test(path));
  assert.deepEqual(unwanted, []);

  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module", private: true }));
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", join(directory, archive.filename)]);
  writeFileSync(join(directory, "consumer.ts"), CONSUMER);
  const types = join(PACKAGE, "node_modules/@types");
  const options = ["--strict", "--module", "nodenext", "--target", "es2022", "--typeRoots", types, "--types", "node"];
  run(join(PACKAGE, "node_modules/.bin/tsc"), [...options, "consumer.ts"]);
  const said = run(process.execPath, ["consumer.js"], { ...process.env, RUNSD_ADDRESS: daemon.address });
  assert.equal(said, "completed { n: 1152921504606846976n }\n");
});
