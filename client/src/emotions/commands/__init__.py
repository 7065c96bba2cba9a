"""The commands of `emotions`, one module per group. `emotions.cli` registers them."""
