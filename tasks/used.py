"""A task id stands for one request."""

from __future__ import annotations

from argosy.errors import IdempotencyConflict


def used_otherwise() -> IdempotencyConflict:
    """What is raised where a request comes with the id of another one."""
    return IdempotencyConflict("This task id was used for a different request: use a new one.")
