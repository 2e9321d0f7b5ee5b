"""What goes where: the mapping file, proposing it, merging it, compiling it to a plan (pure)."""
