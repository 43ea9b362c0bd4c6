-- Delays between a run's attempts that are its own and not its target's, as JSON; empty when it has none.
ALTER TABLE runs ADD COLUMN retry_json TEXT NOT NULL DEFAULT '';
