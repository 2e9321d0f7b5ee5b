"""Real schemas, from the first verb to the last."""
