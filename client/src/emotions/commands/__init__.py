"""The commands of `emotions`, one module per group. `emotions.cli` puts them together."""
