"""Every form of every type, on real servers."""
