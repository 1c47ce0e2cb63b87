"""The control plane: buckets, listings and removals, through Supabase's own client.

`storage3` is the storage part of `supabase`; it is imported when first used, since
most processes move bytes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx

from argosy.errors import BucketNotFound, Error, StorageRefused, StorageUnavailable
from argosy.storage import pool, traits
from argosy.storage.checksum import plain_etag
from argosy.storage.metadata import decode_value
from argosy.storage.retry import RetryPolicy
from argosy.storage.waits import heeding
from argosy.storage.wire import checked_key

if TYPE_CHECKING:
    from storage3 import SyncStorageClient
    from storage3.exceptions import StorageApiError
    from storage3.types import SearchV2Options, SearchV2Result

T = TypeVar("T")
REMOVAL_BATCH = 500
"""Objects per removal; Storage itself works in batches of this size."""
PAGE = 1000


@dataclass(frozen=True)
class BucketInfo:
    """A bucket; `size_limit` in bytes, None where only the project's limits apply."""

    name: str
    public: bool = False
    size_limit: int | None = None
    allowed_types: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ListedObject:
    """One line of a listing; `size` in bytes, None while Storage has not recorded it."""

    key: str
    size: int | None
    etag: str
    content_type: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class ObjectInfo:
    """What REST knows about one object, its user metadata decoded; `size` in bytes."""

    key: str
    size: int
    etag: str
    content_type: str
    metadata: dict[str, str]
    created_at: datetime


class ControlPlane:
    """Buckets and listings of one Supabase project (`url`), as the holder of `key` sees them.

    `key` is the service key or a user's access token; `api_key` is what the gateway
    wants beside a user's token (the anon key). Errors are those of the data plane.
    """

    def __init__(
        self,
        url: str,
        key: str,
        http: httpx.Client | None = None,
        *,
        api_key: str | None = None,
        retries: RetryPolicy | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/storage/v1/"
        self._headers = {"apikey": api_key or key, "Authorization": f"Bearer {key}"}
        self._http = http
        self._retries = retries or RetryPolicy()

    def get_bucket(self, name: str) -> BucketInfo:
        """A bucket and its limits. Raises BucketNotFound."""

        # storage3's own get_bucket refuses a bucket without an owner, as SQL makes them.
        url = f"{self._url}bucket/{quote(name, safe='')}"
        return self._ask(
            f"look at bucket {name}",
            lambda client: _bucket(client.session.get(url, headers=self._headers)),
        )

    def find_bucket(self, name: str) -> BucketInfo | None:
        """A bucket and its limits, or None."""
        try:
            return self.get_bucket(name)
        except BucketNotFound:
            return None

    def ensure_bucket(self, wanted: BucketInfo) -> bool:
        """Make the bucket exist and be as wanted; True when it was created or changed.

        Raises ObjectTooLarge when the wanted limit is above that of the project.
        """
        found = self.find_bucket(wanted.name)
        if found == wanted:
            return False
        if found is None:
            self._create_bucket(wanted)
        else:
            self._update_bucket(wanted)
        return True

    def list_objects(
        self, bucket: str, prefix: str = "", page_size: int = PAGE
    ) -> Iterator[ListedObject]:
        """Every object whose name begins so, in order of name, page by page (list-v2)."""
        options: SearchV2Options = {"prefix": prefix, "limit": page_size, "with_delimiter": False}
        while True:
            page = self._page(bucket, options)
            for entry in page.objects:
                yield _listed(entry.name, entry.metadata or {}, entry.created_at, entry.updated_at)
            if not page.hasNext or not page.nextCursor:
                return
            options = {**options, "cursor": page.nextCursor}

    def remove(self, bucket: str, keys: Sequence[str]) -> list[str]:
        """Remove objects, in batches, and return the names of those that were removed.

        An absent object, and one that the user may not see, is left out in silence:
        Storage does not tell them apart. A batch whose answer got lost is repeated and
        then names only what the repetition removed.
        """
        removed: list[str] = []
        for start in range(0, len(keys), REMOVAL_BATCH):
            removed += self._remove_batch(bucket, keys[start : start + REMOVAL_BATCH])
        return removed

    def signed_url(self, bucket: str, key: str, seconds: int) -> str:
        """A URL that reads an object without signing in, for so long. Raises ObjectNotFound."""
        path = checked_key(key)
        return self._ask(
            f"sign a URL of {bucket}/{key}",
            lambda client: str(client.from_(bucket).create_signed_url(path, seconds)["signedURL"]),
        )

    def object_info(self, bucket: str, key: str) -> ObjectInfo:
        """What REST knows about an object. Raises ObjectNotFound."""
        path = checked_key(key)
        return self._ask(
            f"look at {bucket}/{key}", lambda client: _info(client.from_(bucket).info(path))
        )

    def _update_bucket(self, wanted: BucketInfo) -> None:
        self._ask(
            f"change bucket {wanted.name}",
            lambda client: client.update_bucket(wanted.name, _options(wanted)),
        )

    def _create_bucket(self, wanted: BucketInfo) -> None:
        try:
            self._ask(
                f"create bucket {wanted.name}",
                lambda client: client.create_bucket(wanted.name, options=_options(wanted)),
            )
        except StorageRefused:
            if self.get_bucket(wanted.name) != wanted:  # else somebody else was faster
                raise

    def _page(self, bucket: str, options: SearchV2Options) -> SearchV2Result:
        what = f"list {bucket}/{options.get('prefix', '')}"
        return self._ask(what, lambda client: client.from_(bucket).list_v2(options))

    def _remove_batch(self, bucket: str, batch: Sequence[str]) -> list[str]:
        paths = [checked_key(key) for key in batch]
        return self._ask(
            f"remove {len(paths)} objects of {bucket}",
            lambda client: [str(entry["name"]) for entry in client.from_(bucket).remove(paths)],
        )

    def _ask(self, what: str, call: Callable[[SyncStorageClient], T]) -> T:
        return self._retries.run(lambda: self._attempt(what, call))

    def _attempt(self, what: str, call: Callable[[SyncStorageClient], T]) -> T:
        from storage3.exceptions import StorageApiError

        try:
            with heeding(self._retries):
                return call(self._client())
        except StorageApiError as error:
            raise _refused(what, error) from error
        except httpx.HTTPStatusError as error:
            raise _answered(what, error.response) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise traits.unreachable(what, error) from error
        except (ValueError, KeyError, TypeError) as error:  # no JSON, or another shape
            kind = type(error).__name__
            raise StorageUnavailable(
                f"{what}: the answer is not one of Storage's ({kind}); try again later"
            ) from error

    def _client(self) -> SyncStorageClient:
        """A thin shell around the pool; made anew, since a fork changes the pool."""
        from storage3 import SyncStorageClient

        return SyncStorageClient(self._url, self._headers, http_client=self._http or pool.client())


def _refused(what: str, error: StorageApiError) -> Error:
    """By the answer itself: `StorageApiError` keeps the legacy code only."""
    cause = error.__cause__
    if not isinstance(cause, httpx.HTTPStatusError) and cause is not None:
        cause = cause.__context__  # the body was not JSON
    if not isinstance(cause, httpx.HTTPStatusError):
        status = int(error.status) if str(error.status).isdecimal() else 400
        return traits.refused(what, traits.Refusal(status, error.code, error.message))
    return _answered(what, cause.response)


def _answered(what: str, response: httpx.Response) -> Error:
    refusal = traits.read_refusal(response.status_code, response.content)
    return traits.refused(what, refusal, traits.retry_after(response.headers))


def _bucket(response: httpx.Response) -> BucketInfo:
    found = response.raise_for_status().json()
    types = found["allowed_mime_types"]
    allowed = None if types is None else tuple(types)
    return BucketInfo(found["id"], found["public"], found["file_size_limit"], allowed)


def _options(wanted: BucketInfo) -> Any:
    """All three, so that a limit can be lifted too (storage3's type knows no null)."""
    return {
        "public": wanted.public,
        "file_size_limit": wanted.size_limit,
        "allowed_mime_types": None if wanted.allowed_types is None else list(wanted.allowed_types),
    }


def _listed(
    name: str, metadata: dict[str, Any], created_at: datetime, updated_at: datetime
) -> ListedObject:
    size = metadata.get("size")
    return ListedObject(
        key=name,
        size=None if size is None else int(size),
        etag=plain_etag(str(metadata.get("eTag", ""))),
        content_type=str(metadata.get("mimetype", "")),
        created_at=created_at,
        updated_at=updated_at,
    )


def _info(found: Any) -> ObjectInfo:
    if not isinstance(found, dict):
        raise TypeError("not a JSON object")
    metadata = found.get("metadata") or {}
    return ObjectInfo(
        key=found["name"],
        size=int(found["size"]),
        etag=plain_etag(found.get("etag") or ""),
        content_type=found.get("content_type") or "",
        metadata={name: decode_value(str(value)) for name, value in metadata.items()},
        created_at=datetime.fromisoformat(found["created_at"]),
    )
