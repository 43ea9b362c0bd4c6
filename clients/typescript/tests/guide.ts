/** The guide's snippets, one after the other, as its reader would type them: import and endpoint alone differ. */
import { createRunsClient } from "runsd-client";

const runs = createRunsClient({
  authToken: process.env["RUNSD_API_TOKEN"],
  projectReference: "22222222-2222-4222-8222-222222222222",
});

// Create a task run
const accepted = await runs.createTaskRun({
  projectId: "22222222-2222-4222-8222-222222222222",
  name: "Sync data",
  target: "task:sync-data",
  config: { batchSize: 100 },
});

console.log(accepted.run.run_id);
console.log(accepted.run.status);

// Create a workflow run
await runs.createWorkflowRun({
  projectId: "22222222-2222-4222-8222-222222222222",
  workflowId: "content-pipeline",
  target: "workflow:content-pipeline",
  input: { topic: "AI agents" },
});

// Observe a run
const events = await runs.events(accepted.run.run_id);

for (const entry of events.data) {
  console.log(entry.event_id, entry.event_type, entry.payload);
}

const run = await runs.get(accepted.run.run_id);
console.log(run.status);
console.log(run.output);

await runs.cancel(accepted.run.run_id);

// List project runs
const page = await runs.list({ limit: 50 });
console.log(page.data.map((run) => run.run_id));

// Verify it worked
{
  const accepted = await runs.createTaskRun({
    projectId: "22222222-2222-4222-8222-222222222222",
    name: "Test run",
    target: "task:sync-data",
  });
  console.log("created", accepted.run.run_id);

  // Poll status until terminal
  while (true) {
    const { status } = await runs.get(accepted.run.run_id);
    if (status === "completed" || status === "failed" || status === "cancelled") {
      break;
    }
    await new Promise((r) => setTimeout(r, 2000));
  }

  // Read the canonical event stream
  const events = await runs.events(accepted.run.run_id);
  for (const entry of events.data) {
    console.log(entry);
  }
}
