"""What is printed: text and JSON from one model."""
