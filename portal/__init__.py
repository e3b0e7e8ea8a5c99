"""Who may know of what the cameras saw, and how they learn it."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
