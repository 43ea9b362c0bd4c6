-- Waiting runs, and what workflows are replayed from.

-- One row for each run in status waiting; no part of the record.
CREATE TABLE waits (
    run_no INTEGER PRIMARY KEY REFERENCES runs,
    wake_at INTEGER  -- NULL: until something from outside happens
) STRICT;

CREATE INDEX waits_due ON waits (wake_at) WHERE wake_at IS NOT NULL;

CREATE INDEX history_of_run ON events (run_no, event_id) WHERE event_type IN (
    'step.started', 'step.completed', 'step.failed', 'step.skipped',
    'approval.requested', 'approval.decided', 'signal', 'run.retrying', 'run.interrupted'
);

-- Interruptions since the run last got on: for tasks all, for workflows those since the last completed step.
ALTER TABLE runs ADD COLUMN fruitless_interruptions INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET fruitless_interruptions = interruptions;

-- When the attempt began, by the clock that waits are measured by; 0: not known.
ALTER TABLE attempts ADD COLUMN began_at INTEGER NOT NULL DEFAULT 0;
