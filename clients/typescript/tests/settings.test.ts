/** What a client is set up with: the rules of the Python client. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { ConfigurationError, UnreachableError } from "runsd-client";

import { parseAddress } from "../dist/address.js";
import { Tries, retryPolicy } from "../dist/retrying.js";
import { resolveSettings } from "../dist/settings.js";

const ENVIRONMENT = {
  RUNSD_ADDRESS: "/run/runsd.sock",
  RUNSD_API_TOKEN: "secret",
  RUNSD_PROJECT: "blue",
  RUNSD_RUN_ID: "run-1",
};

test("all comes from the environment", () => {
  const { address, token, project, parentRunId } = resolveSettings({}, ENVIRONMENT);
  assert.deepEqual([address, token, project, parentRunId], ["unix:/run/runsd.sock", "secret", "blue", "run-1"]);
  const elsewhere = resolveSettings({}, { XDG_RUNTIME_DIR: "/run/user/7" });
  assert.equal(elsewhere.address, "unix:/run/user/7/runsd/runsd.sock");
});

test("token and run of the environment stay with its daemon", () => {
  const { token, project, parentRunId } = resolveSettings({ address: "there:1" }, ENVIRONMENT);
  assert.deepEqual([token, project, parentRunId], ["", "blue", ""]);
  assert.equal(resolveSettings({ authToken: "", projectReference: "" }, ENVIRONMENT).token, "");
});

test("addresses are refused with what would be right", () => {
  for (const right of ["unix:/a", "host:1", "[::1]:65535", "127.0.0.1:50051"]) assert.equal(parseAddress(right), right);
  assert.equal(parseAddress("unix:///a"), "unix:/a");
  const wrong = [
    "",
    "host",
    "host:0",
    "host:65536",
    ":1",
    "::1:1",
    "a b:1",
    "http://host:1",
    "unix:a",
    `/${"a".repeat(107)}`,
  ];
  for (const text of wrong) assert.throws(() => parseAddress(text), ConfigurationError, text);
  assert.throws(() => resolveSettings({ authToken: "sécret" }, {}), ConfigurationError);
});

test("tries are 3, from 1 to 10 seconds, and unlimited once connected", () => {
  const lost = new UnreachableError("lost", "here");
  const tries = new Tries(retryPolicy());
  const delays = [1, 2, 3].map(() => tries.after(lost));
  delays.forEach((delay, index) => assert.ok(delay <= 2 ** index && delay >= 0.8 * 2 ** index, `${delay}`));
  assert.throws(() => tries.after(lost), lost);
  tries.succeeded();
  for (let failure = 0; failure < 2000; failure += 1) assert.ok(tries.after(lost) <= 10);
  assert.throws(() => new Tries(retryPolicy(false)).after(lost), lost);
  assert.throws(() => new Tries(retryPolicy(), undefined, performance.now() + 100).after(lost), lost);
});
