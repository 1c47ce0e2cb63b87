"""What a bucket takes."""

from __future__ import annotations

from argosy.errors import ObjectTooLarge, TypeNotAllowed
from argosy.storage.control import BucketInfo


def check_limits(name: str, content_type: str, bucket: BucketInfo, size: int) -> None:
    """Raise ObjectTooLarge, TypeNotAllowed for a file that the bucket does not take."""
    if bucket.size_limit is not None and size > bucket.size_limit:
        raise ObjectTooLarge(
            f"{name} has {size} bytes, bucket {bucket.name} takes {bucket.size_limit}: "
            "raise the bucket's limit or send less."
        )
    allowed = bucket.allowed_types
    if allowed and not any(_matches(content_type, pattern) for pattern in allowed):
        raise TypeNotAllowed(
            f"{name} is {content_type}, bucket {bucket.name} takes "
            f"{', '.join(allowed)}: give the right content_type or use another bucket."
        )


def _matches(content_type: str, pattern: str) -> bool:
    plain = content_type.partition(";")[0].strip().lower()
    return pattern.lower() in ("*/*", plain, f"{plain.partition('/')[0]}/*")
