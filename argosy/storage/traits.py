"""What went wrong, and what that means: the one table from answers to Argosy's errors.

Three sources of trouble meet here: the S3 protocol (true HTTP statuses, error XML in a
namespace), REST (HTTP 400 for nearly everything; the truth is in `code`, then in
`statusCode`) and whatever stands in between (HTML from a gateway, resets, time-outs).
Messages name the object and what to do. They carry no token and no signature.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    ChecksumMismatch,
    Error,
    InvalidToken,
    ObjectChanged,
    ObjectNotFound,
    ObjectTooLarge,
    StorageRefused,
    StorageUnavailable,
    TypeNotAllowed,
    UploadNotFound,
)


@dataclass(frozen=True)
class Trait:
    """The error to raise and what to tell the user to do about it."""

    error: type[Error]
    advice: str


@dataclass(frozen=True)
class Refusal:
    """What an answer said: the true status, the code and the message, each if there was one."""

    status: int
    code: str = ""
    message: str = ""
    from_storage: bool = True


_BUSY = Trait(StorageUnavailable, "try again later")
_DENIED = Trait(AccessDenied, "ask its owner for a grant")
_EXPIRED = Trait(InvalidToken, "sign in again")
_NO_BUCKET = Trait(BucketNotFound, "create the bucket or correct its name")
_NO_OBJECT = Trait(ObjectNotFound, "it does not exist, or this agent may not read it")
_NO_UPLOAD = Trait(UploadNotFound, "it was completed or aborted, look at the object, or start anew")
_TOO_LARGE = Trait(ObjectTooLarge, "send less, or raise the limit of the bucket and the project")
_TYPE = Trait(TypeNotAllowed, "use a content type that the bucket allows")
_PARTS = Trait(ChecksumMismatch, "the parts stored are not those that were sent, send them again")
_REFUSED = Trait(StorageRefused, "repeating it will not help")
_SIGNATURE = Trait(
    StorageRefused,
    "check the anon key, the project reference and the region, and that a proxy in between "
    "keeps host and path (REQUEST_ALLOW_X_FORWARDED_PATH)",
)

BY_CODE: dict[str, Trait] = {
    **dict.fromkeys(("NoSuchBucket", "Bucket not found"), _NO_BUCKET),
    **dict.fromkeys(("NoSuchKey", "NotFound", "not_found"), _NO_OBJECT),
    **dict.fromkeys(("NoSuchUpload", "InvalidUploadId"), _NO_UPLOAD),
    **dict.fromkeys(("AccessDenied", "Unauthorized"), _DENIED),
    **dict.fromkeys(("ExpiredToken", "InvalidJWT", "InvalidToken"), _EXPIRED),
    **dict.fromkeys(("EntityTooLarge", "Payload too large"), _TOO_LARGE),
    **dict.fromkeys(("InvalidMimeType", "invalid_mime_type"), _TYPE),
    **dict.fromkeys(("InvalidChecksum", "InvalidPart", "MissingPart", "BadDigest"), _PARTS),
    **dict.fromkeys(
        ("SignatureDoesNotMatch", "InvalidSignature", "InvalidAccessKeyId", "RequestTimeTooSkewed"),
        _SIGNATURE,
    ),
    **dict.fromkeys(
        ("InvalidKey", "KeyTooLong", "KeyTooLongError", "InvalidRange", "InvalidBucketName"),
        _REFUSED,
    ),
    **dict.fromkeys(
        (
            *("SlowDown", "InternalError", "RequestTimeout", "ServiceUnavailable"),
            *("DatabaseTimeout", "DatabaseReadOnly", "DatabaseError", "DatabaseSchemaMismatch"),
            *("DatabaseTransactionAborted", "TransactionError", "LockTimeout", "ResourceLocked"),
            *("Aborted", "AbortedTerminate", "too_many_connections", "acquiring_lock_timeout"),
        ),
        _BUSY,
    ),
}
"""By the code that Storage gives (storage/src/internal/errors/codes.ts and S3's own)."""

BY_STATUS: dict[int, Trait] = {
    401: _EXPIRED,
    403: _DENIED,
    404: _NO_OBJECT,
    408: _BUSY,
    412: Trait(ObjectChanged, "look at the object again"),
    413: _TOO_LARGE,
    415: _TYPE,
    423: _BUSY,
    425: _BUSY,
    429: _BUSY,
    501: _REFUSED,
    505: _REFUSED,
    507: Trait(StorageRefused, "it is full, make room"),
}
"""By status, where the code says nothing; other 5xx are busy, the rest is refused."""

_TOKEN_TROUBLE = re.compile(
    r'"(exp|nbf|iat|alg)"|jwt|jws|jwe|json web|signature verification|\btoken', re.IGNORECASE
)
"""How a denial sounds that is about the token itself (the words of the `jose` library)."""
_CREDENTIAL_TROUBLE = {"Invalid Access Key", "Invalid Region", "Invalid Service"}
_SECRET = re.compile(r"\beyJ[\w-]*(\.[\w-]*)*|\bsb_\w{8,}|\b[0-9a-f]{64}\b")
_LONGEST_MESSAGE = 200


def read_refusal(status: int, body: bytes) -> Refusal:
    """What an error answer says, in whichever of the three languages it is.

    An empty body (the answer to HEAD) is Storage's own; HTML and other text is not.
    """
    text = body.strip()
    if not text:
        return Refusal(status)
    if text.startswith(b"{"):
        return _read_json(status, text)
    return _read_xml(status, text)


def _read_json(status: int, text: bytes) -> Refusal:
    try:
        said = json.loads(text)
    except ValueError:
        return Refusal(status, from_storage=False)
    codes = [str(said[key]) for key in ("code", "error") if said.get(key)]
    code = next((code for code in codes if code in BY_CODE), codes[0] if codes else "")
    inner = str(said.get("statusCode", ""))
    true_status = int(inner) if inner.isdecimal() else status
    return Refusal(true_status, code, str(said.get("message", "")))


def _read_xml(status: int, text: bytes) -> Refusal:
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat bounds entities; the body is bounded
    except ET.ParseError:
        return Refusal(status, from_storage=False)
    code = root.findtext("{*}Code")
    if code is None:
        return Refusal(status, from_storage=False)
    return Refusal(status, code, root.findtext("{*}Message") or "")


def trait_of(refusal: Refusal) -> Trait:
    """The row of the table for an answer."""
    if not refusal.from_storage:  # a gateway's page; only "too large" will not pass
        return _TOO_LARGE if refusal.status == 413 else _BUSY
    trait = BY_CODE.get(refusal.code) or _by_status(refusal.status)
    return _denial(refusal.message) if trait is _DENIED else trait


def _denial(message: str) -> Trait:
    """Storage says AccessDenied for three things; only its words tell them apart."""
    if message in _CREDENTIAL_TROUBLE:
        return _SIGNATURE
    return _EXPIRED if _TOKEN_TROUBLE.search(message) else _DENIED


def _by_status(status: int) -> Trait:
    return BY_STATUS.get(status) or (_BUSY if status >= 500 else _REFUSED)


def refused(what: str, refusal: Refusal, retry_after: float | None = None) -> Error:
    """The error for an answer; `what` says in words what was being done to which object."""
    trait = trait_of(refusal)
    who = "Storage" if refusal.from_storage else "A gateway"
    said = ": ".join(filter(None, (refusal.code, _printable(refusal.message))))
    answer = f"{refusal.status} ({said})" if said else str(refusal.status)
    told = f"{who} answered {answer} when asked to {what}: {trait.advice}."
    error = trait.error(told, None, retry_after)
    if isinstance(error, StorageUnavailable):
        error.away = refusal.status >= 500 and refusal.code != "SlowDown"
    return error


def unreachable(what: str, cause: httpx.HTTPError | httpx.StreamError | httpx.InvalidURL) -> Error:
    """The error for a failure below HTTP: resets, time-outs, cut bodies."""
    kind = type(cause).__name__
    if isinstance(cause, httpx.LocalProtocolError | httpx.UnsupportedProtocol | httpx.InvalidURL):
        return StorageRefused(f"The request to {what} cannot be sent ({kind}): check SUPABASE_URL.")
    detail = _printable(str(cause))
    error = StorageUnavailable(
        f"Storage was not reached or cut the connection ({kind}{': ' if detail else ''}{detail}) "
        f"when asked to {what}: {_BUSY.advice}."
    )
    error.away = True
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, 10.2.3: seconds or a date)."""
    asked = headers.get("retry-after", "").strip()
    if asked.isdecimal():
        return float(asked)
    try:
        wanted = parsedate_to_datetime(asked)
    except ValueError:
        return None
    if wanted.tzinfo is None:
        wanted = wanted.replace(tzinfo=UTC)
    return max(0.0, (wanted - datetime.now(UTC)).total_seconds())


def _printable(text: str) -> str:
    """One short line without anything that looks like a secret."""
    return _SECRET.sub("…", " ".join(text.split()))[:_LONGEST_MESSAGE]
