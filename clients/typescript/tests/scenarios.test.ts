/** The scenarios that every client must pass: those that the Python client plays, too. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";

import type { RunsClient } from "runsd-client";

import { Daemon } from "./daemon.js";
import { CALLS, STREAMS } from "./scenario-calls.js";
import { mismatch, show } from "./scenario-matching.js";
import { Player, SCENARIOS, scenarios, valueOf } from "./scenario-playing.js";

// Far more than any needs, so that a defect ends a test instead of hanging it.
const PATIENCE_MS = 180_000;
const LISTED = scenarios();

let daemon: Daemon;
let runs: RunsClient;
let impatient: RunsClient;
before(() => {
  daemon = new Daemon(join(SCENARIOS, "project"), readFileSync(join(SCENARIOS, "runsd.toml"), "utf8"));
  runs = daemon.client({ retry: { retries: 1000, initialSeconds: 0.02, maxSeconds: 0.2 } });
  impatient = daemon.client({ retry: false });
});
beforeEach(async () => {
  if (!daemon.isRunning) await daemon.start();
});
after(() => daemon?.stop());

for (const [file, scenario] of LISTED) {
  test(`${file}: ${scenario.name}`, { timeout: PATIENCE_MS }, async () => {
    const directory = mkdtempSync(join(daemon.directory, "scenario-"));
    await new Player(runs, impatient, daemon, directory).play(scenario.steps);
  });
}

test("every call is in a scenario", () => {
  const listed = JSON.stringify(LISTED);
  const names = [...Object.keys(CALLS), ...Object.keys(STREAMS)];
  assert.deepEqual(
    names.filter((name) => !listed.includes(`"call":"${name}"`)),
    [],
  );
});

test("expectations are read as agreed", () => {
  const cases = JSON.parse(readFileSync(join(SCENARIOS, "matching.json"), "utf8")) as Record<string, unknown>[];
  assert.ok(cases.length > 0);
  for (const one of cases) {
    const value = (name: string): unknown => valueOf(one[name], {}, "/");
    assert.equal(mismatch(value("expected"), value("actual")) === "", one["fits"], show(one));
  }
});
