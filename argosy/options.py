"""What a caller may say of one call; what is None comes from the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from argosy.errors import InvalidRequest
from argosy.given import check_names
from argosy.progress import Subscriber
from argosy.settings import S3_MAX_PART_BYTES, S3_MIN_PART_BYTES

Compress = Literal["auto", "zstd", "gzip"]
"""How a file is to be stored: `auto` is zstd, where it pays."""

Priority = Literal["urgent", "normal", "bulk"]
"""How soon a transfer wants to move, among those of its agent."""


@dataclass(frozen=True)
class UploadOptions:
    """`name` is the file's name for people, any Unicode; `share_with` names who may read it:
    agents, or `role:reader` and its like. `part_size` is in bytes; `parallel` parts of a file
    move at once. An upload with an `idempotency_key` is the same one for the fleet.

    `compress` stores the file compressed: with "auto" by zstd, where its type and a sample of
    its bytes say that this saves 5 % or more, else as it is. Every way down gives the file
    itself. In direct mode it is compressed while it is sent, with no copy on disk, and a
    killed upload begins anew. `process="auto"` has the fleet do what the file's type calls
    for, before the reference is there. By `priority` (normal, when None) the more urgent of an
    agent's transfers have their turn first. These and the key are for what the fleet does:
    `upload_later` takes all three, `upload_many_later` and `Client.copy` take `priority` and the
    key; elsewhere they are an InvalidRequest, since nothing would come of them.

    Raises InvalidRequest for a value out of range.
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
    compress: Compress | None = None
    process: Literal["auto"] | None = None
    priority: Priority | None = None

    def __post_init__(self) -> None:
        size = self.part_size
        if size is not None and not S3_MIN_PART_BYTES <= size <= S3_MAX_PART_BYTES:
            raise InvalidRequest(f"part_size is {size}: 5 MiB to 5 GiB.")
        if self.compress is not None and self.compress not in get_args(Compress):
            raise InvalidRequest(f"compress is {self.compress!r}: auto, zstd or gzip.")
        check_names(self.share_with)
        if self.process not in (None, "auto"):
            raise InvalidRequest(f"process is {self.process!r}: auto, or None for nothing.")
        if self.priority is not None and self.priority not in get_args(Priority):
            raise InvalidRequest(f"priority is {self.priority!r}: urgent, normal or bulk.")
        _check_common(self.parallel, self.deadline_seconds)

    def in_bucket(self, bucket: str) -> UploadOptions:
        """The same, in another bucket."""
        return replace(self, bucket=bucket)


@dataclass(frozen=True)
class DownloadOptions:
    """With `cache` False the file is neither looked for in the cache nor put there.

    `iter_bytes` and `open_file` have no use for more than `deadline_seconds`.
    """

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
        if self.limit is not None and self.limit < 0:
            raise InvalidRequest(f"limit is {self.limit}: 0 or more, or None for all.")
        if not 1 <= self.page_size <= 1000:
            raise InvalidRequest(f"page_size is {self.page_size}: 1 to 1000.")
        _check_common(None, self.deadline_seconds)

    @property
    def page(self) -> int:
        """What to ask for at once: no more than is to be given."""
        return min(self.page_size, self.limit or self.page_size)


def _check_common(parallel: int | None, deadline_seconds: float | None) -> None:
    if parallel is not None and not 1 <= parallel <= 64:
        raise InvalidRequest(f"parallel is {parallel}: 1 to 64.")
    if deadline_seconds is not None and not deadline_seconds > 0:
        raise InvalidRequest(f"deadline_seconds is {deadline_seconds}: more than 0.")
