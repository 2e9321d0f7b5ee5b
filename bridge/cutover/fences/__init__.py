"""Fences: what keeps writers that go around the bridge out of a side.

`choose.choose` makes the source's fence, `target.TargetFence` is the target's. What is to be
restored is noted before anything changes (`holding`), so that whoever comes later can take a fence
off with the note alone.
"""
