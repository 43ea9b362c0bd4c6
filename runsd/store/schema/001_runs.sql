-- Runs, their documents, their events, what is left of them. Times in microseconds since 1970, UTC;
-- texts empty when unset.

-- The hot part of the record: small, so that a change of status rewrites little.
CREATE TABLE runs (
    run_no INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of creation
    run_id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    root_run_id TEXT NOT NULL,
    name TEXT NOT NULL,
    metadata_json TEXT NOT NULL,
    parent_run_id TEXT NOT NULL,
    schedule_id TEXT NOT NULL,
    batch_id TEXT NOT NULL,
    trigger_kind TEXT NOT NULL,
    trigger_id TEXT NOT NULL,
    created_by TEXT NOT NULL,
    retry_of_run_id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    concurrency_key TEXT NOT NULL,
    priority INTEGER NOT NULL,
    timeout_seconds REAL NOT NULL,
    backoff_limit INTEGER NOT NULL,
    expires_after INTEGER,
    start_after INTEGER,
    started_at INTEGER,
    completed_at INTEGER,
    attempt INTEGER NOT NULL,
    interruptions INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    waiting_reason TEXT NOT NULL,
    exit_code INTEGER,
    error_json TEXT NOT NULL,
    request_hash BLOB
) STRICT;

CREATE INDEX runs_of_project ON runs (project, run_no);
CREATE INDEX runs_by_status ON runs (project, status, run_no);
CREATE INDEX runs_by_target ON runs (project, target, run_no);
CREATE INDEX runs_of_parent ON runs (parent_run_id, run_no) WHERE parent_run_id <> '';
CREATE INDEX runs_of_batch ON runs (project, batch_id, run_no) WHERE batch_id <> '';
CREATE UNIQUE INDEX runs_by_key ON runs (project, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX runs_active ON runs (run_no) WHERE status IN ('running', 'waiting');
-- The queue, in the order in which runs start; the further columns let a scan skip without a look-up.
CREATE INDEX runs_queued ON runs (priority DESC, run_no, start_after, project, target, concurrency_key)
    WHERE status = 'pending';
CREATE INDEX runs_delayed ON runs (start_after) WHERE status = 'pending' AND start_after IS NOT NULL;
CREATE INDEX runs_expiring ON runs (expires_after)
    WHERE status = 'pending' AND attempt = 0 AND expires_after IS NOT NULL;

-- The bulky part of the record, written once each.
CREATE TABLE documents (
    run_no INTEGER PRIMARY KEY REFERENCES runs,
    input_json TEXT NOT NULL,
    config_json TEXT NOT NULL,
    output_json TEXT NOT NULL
) STRICT;

-- Append-only. `position` is the daemon-wide order of commits; `event_id` is 1..n in each run.
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    run_no INTEGER NOT NULL REFERENCES runs,
    event_id INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_of_run ON events (run_no, event_id);
CREATE INDEX logs_of_run ON events (run_no, event_id) WHERE event_type = 'log';

-- How far an attempt's files are in the log, in bytes: changed with the events read up to there.
CREATE TABLE attempts (
    run_no INTEGER NOT NULL REFERENCES runs,
    attempt INTEGER NOT NULL,
    adapter TEXT NOT NULL,
    stdout_offset INTEGER NOT NULL DEFAULT 0,
    stderr_offset INTEGER NOT NULL DEFAULT 0,
    events_offset INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_no, attempt)
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    run_no INTEGER NOT NULL REFERENCES runs,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    PRIMARY KEY (run_no, name)
) STRICT, WITHOUT ROWID;
