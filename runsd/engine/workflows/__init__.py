"""Executes workflows: replays their record, and records what is new."""
