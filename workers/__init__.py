"""Verification and copies spread over processes by Celery; what is done stands in PostgreSQL."""
