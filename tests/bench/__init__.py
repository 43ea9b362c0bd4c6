"""How fast the daemon is, beside a server that does nothing and a bare spawn loop.

`python -m tests.bench` starts all that it needs and prints figures and ratios of one run on one
machine. Nothing here asserts a time: absolute figures mean little on a machine that others use.
"""
