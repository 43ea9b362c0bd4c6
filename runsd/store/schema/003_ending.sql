-- Runs that are to undo what they did, and need an attempt for it.
CREATE INDEX runs_ending ON runs (run_no) WHERE cancel_requested AND status IN ('pending', 'waiting');
