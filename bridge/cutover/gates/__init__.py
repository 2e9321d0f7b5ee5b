"""Gates of a switch: what must be so before a fence goes up, each with its evidence."""
