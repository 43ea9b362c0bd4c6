-- The same rows. For `IN` with more than two values SQLite makes a table of them for each event it adds, which cost
-- as much as the rest of adding it.
DROP INDEX history_of_run;
CREATE INDEX history_of_run ON events (run_no, event_id) WHERE (
    event_type = 'step.started' OR event_type = 'step.completed' OR event_type = 'step.failed'
    OR event_type = 'step.skipped' OR event_type = 'approval.requested' OR event_type = 'approval.decided'
    OR event_type = 'signal' OR event_type = 'run.retrying' OR event_type = 'run.interrupted'
);
