"""Verification spread over processes by Celery; what they have done stands in PostgreSQL."""
