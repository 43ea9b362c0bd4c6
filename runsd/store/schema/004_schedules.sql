-- Schedules and what became of their occurrences. Moments of the wall clock, in microseconds.

CREATE TABLE schedules (
    schedule_no INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    schedule_id TEXT NOT NULL,
    spec_json TEXT NOT NULL,
    source TEXT NOT NULL,  -- where it is declared; empty: made by CreateSchedule
    is_deleted INTEGER NOT NULL,  -- kept, so that its occurrences make no second run if it comes back
    is_paused INTEGER NOT NULL,
    pause_reason TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    next_at INTEGER,
    aimed_at INTEGER NOT NULL,
    active INTEGER NOT NULL,  -- its runs that have not ended
    queued INTEGER NOT NULL,  -- its occurrences without a run yet
    runs_made INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    last_run_id TEXT NOT NULL,
    last_scheduled_for INTEGER,
    last_success_run_id TEXT NOT NULL,
    last_success_at INTEGER,
    has_failed INTEGER NOT NULL,
    is_stale INTEGER NOT NULL,
    stale_at INTEGER,
    last_event_id INTEGER NOT NULL,
    UNIQUE (project, schedule_id)
) STRICT;

CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_stale ON schedules (stale_at) WHERE stale_at IS NOT NULL;
CREATE INDEX schedules_free ON schedules (schedule_no) WHERE queued > 0 AND active = 0;

-- What was decided of an occurrence, once: the run that it made, or that it waits for others to end.
CREATE TABLE occurrences (
    schedule_no INTEGER NOT NULL REFERENCES schedules,
    at INTEGER NOT NULL,
    run_id TEXT NOT NULL,  -- empty: it is queued
    PRIMARY KEY (schedule_no, at)
) STRICT, WITHOUT ROWID;

CREATE INDEX occurrences_queued ON occurrences (schedule_no, at) WHERE run_id = '';

-- Occurrences that made no run, those in a row for one reason together.
CREATE TABLE skips (
    skip_no INTEGER PRIMARY KEY,
    schedule_no INTEGER NOT NULL REFERENCES schedules,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count INTEGER NOT NULL,
    is_at_least INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX skips_of_schedule ON skips (schedule_no, skip_no);

-- Append-only; positions are of one order with those of `events`.
CREATE TABLE schedule_events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule_no INTEGER NOT NULL REFERENCES schedules,
    event_id INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

ALTER TABLE runs ADD COLUMN scheduled_for INTEGER;
CREATE INDEX runs_of_schedule ON runs (project, schedule_id, run_no) WHERE schedule_id <> '';
CREATE INDEX runs_of_schedule_active ON runs (project, schedule_id, run_no)
    WHERE schedule_id <> '' AND status IN ('pending', 'running', 'waiting');
