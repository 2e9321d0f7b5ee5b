"""Copy and stream together: lease, frontiers, pause, stop, resume."""
