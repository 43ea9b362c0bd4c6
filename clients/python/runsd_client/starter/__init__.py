"""The project that `runs init` writes: its files as they are, under `project/`, which is one itself."""
