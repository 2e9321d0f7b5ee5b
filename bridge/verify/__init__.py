"""Proof of equality: digests, sweeps, rechecks."""
