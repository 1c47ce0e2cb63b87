"""The Celery application of the fleet, and running it."""
