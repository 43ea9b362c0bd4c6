"""Decides what happens next: which runs are made, which start, what their ends mean."""
