"""Definitions: `runs.toml` and decorated Python to values, and the catalog that requests look them up in."""
