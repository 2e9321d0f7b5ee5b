"""Whole pipelines: the real command line between real servers."""
