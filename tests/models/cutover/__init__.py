"""The model of a cutover: its states and rows, the streams, writers of all kinds, two operators.

The transitions are those of bridge.cutover.transitions; what is done in a state is written down
here (steps.py), in the order in which it must be done. All that can be reached is looked at.
"""
