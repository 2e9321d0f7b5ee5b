"""What flows: positions, row changes, batches (pure)."""
