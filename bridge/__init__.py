"""dbbridge moves a live MySQL or MariaDB database to PostgreSQL while the application keeps running."""

__version__ = "0.1.0"
