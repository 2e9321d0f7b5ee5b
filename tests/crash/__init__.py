"""Everything is killed in the middle: the daemon, the source, the target."""
