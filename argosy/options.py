"""What a caller may say of one call; what is None comes from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from argosy.errors import InvalidRequest
from argosy.progress import Subscriber
from argosy.settings import S3_MAX_PART_BYTES, S3_MIN_PART_BYTES


@dataclass(frozen=True)
class UploadOptions:
    """`name` is the file's name for people, any Unicode; `share_with` names who may read it:
    agents, or `role:reader` and its like. `part_size` is in bytes; `parallel` parts of a file
    move at once. An upload with an `idempotency_key` is the same one for the fleet (background
    mode only). Raises InvalidRequest for a value out of range.
    """

    bucket: str | None = None
    name: str | None = None
    content_type: str | None = None
    share_with: tuple[str, ...] = ()
    part_size: int | None = None
    parallel: int | None = None
    idempotency_key: str | None = None
    deadline_seconds: float | None = None
    subscribers: tuple[Subscriber, ...] = ()

    def __post_init__(self) -> None:
        size = self.part_size
        if size is not None and not S3_MIN_PART_BYTES <= size <= S3_MAX_PART_BYTES:
            raise InvalidRequest(f"part_size is {size}: 5 MiB to 5 GiB.")
        _check_common(self.parallel, self.deadline_seconds)


@dataclass(frozen=True)
class DownloadOptions:
    """With `cache` False the file is neither looked for in the cache nor put there."""

    parallel: int | None = None
    cache: bool = True
    deadline_seconds: float | None = None
    subscribers: tuple[Subscriber, ...] = ()

    def __post_init__(self) -> None:
        _check_common(self.parallel, self.deadline_seconds)


@dataclass(frozen=True)
class ListOptions:
    """`limit` is the most files to give, all when None; `page_size` what one request asks for."""

    limit: int | None = None
    page_size: int = 1000
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= 1000:
            raise InvalidRequest(f"page_size is {self.page_size}: 1 to 1000.")
        _check_common(None, self.deadline_seconds)


def _check_common(parallel: int | None, deadline_seconds: float | None) -> None:
    if parallel is not None and not 1 <= parallel <= 64:
        raise InvalidRequest(f"parallel is {parallel}: 1 to 64.")
    if deadline_seconds is not None and not deadline_seconds > 0:
        raise InvalidRequest(f"deadline_seconds is {deadline_seconds}: more than 0.")
