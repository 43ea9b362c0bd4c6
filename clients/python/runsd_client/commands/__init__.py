"""The commands of `runs`, one module per group. `runsd_client.cli` registers them."""
