"""What every test may ask for."""

pytest_plugins = ["tests.fix_servers", "tests.endtoend.fixtures"]
