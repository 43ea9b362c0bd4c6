/** The guide as an executable script, in a process of its own that nothing keeps alive at the end. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Daemon } from "./daemon.js";

let daemon: Daemon;
before(async () => (daemon = await Daemon.started()));
after(() => daemon?.stop());

test("the guide runs to its end, and shows what it promises", async () => {
  const guide = fileURLToPath(new URL("guide.js", import.meta.url));
  const env = { ...process.env, RUNSD_ADDRESS: daemon.address };
  const { stdout } = await promisify(execFile)(process.execPath, [guide], { env, timeout: 60_000 });
  const created = /^created (\S+)$/m.exec(stdout)?.[1];
  assert.ok(created, stdout);
  const ended = stdout.slice(stdout.indexOf("created"));
  assert.match(ended, /event_type: 'run\.created'/);
  assert.match(ended, /text: 'syncing\\n'/);
  assert.match(ended, /event_type: 'run\.completed'/);

  const runs = daemon.client();
  assert.equal((await runs.get(created)).status, "completed");
  const data = (await runs.list()).data.filter((run) => run.parent_run_id === "");
  assert.deepEqual(data.map((run) => run.kind).sort(), ["task", "task", "workflow"]);
  const workflow = await runs.wait(data.find((run) => run.kind === "workflow")!.run_id, { timeoutSeconds: 30 });
  assert.equal(workflow.status, "completed", JSON.stringify(workflow.error));
});
