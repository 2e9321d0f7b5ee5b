"""The services around dbbridge, for development, tests and the demo."""
