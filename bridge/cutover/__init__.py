"""Moving authority over a group of tables from the source to the target, and back."""
