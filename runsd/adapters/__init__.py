"""How an attempt executes. The engine knows no more of it than `base` says."""
