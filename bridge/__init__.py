"""dbbridge moves a live MySQL or MariaDB database to PostgreSQL while the application runs on."""

__version__ = "0.1.0"
