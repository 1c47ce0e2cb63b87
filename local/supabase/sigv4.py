"""Signature Version 4: who signed this request, and did they sign exactly it?"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import Request

from local.supabase import errors
from local.supabase.config import Config

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
POLICY = "Policy"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_LONG_DATE = "%Y%m%dT%H%M%SZ"
_NEVER_SIGNED = {"authorization", "connection", "expect", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Signature:
    """A client's signature, taken apart."""

    access_key: str
    date: str
    region: str
    service: str
    long_date: str
    value: str
    signed_headers: list[str] = field(default_factory=list)
    payload_hash: str = UNSIGNED
    session_token: str | None = None

    @property
    def credential_scope(self) -> str:
        """The date, region and service the key is derived for."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def read_signature(request: Request) -> Signature | None:
    """Return the signature of a request's header or query, or None when it has neither."""
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(ALGORITHM + " "):
        return _from_header(request.headers, authorization)
    query = request.query_params
    if "X-Amz-Credential" in query:
        return _from_query(query, request.method)
    return None


def _from_header(headers: Mapping[str, str], authorization: str) -> Signature:
    fields = authorization.removeprefix(ALGORITHM).split(",")
    pairs = {k.strip(): v for k, _, v in (f.partition("=") for f in fields)}
    return _build(
        pairs.get("Credential"),
        headers.get("x-amz-date"),
        pairs.get("Signature"),
        pairs.get("SignedHeaders"),
        payload_hash=headers.get("x-amz-content-sha256"),
        session_token=headers.get("x-amz-security-token"),
    )


def _from_query(query: Mapping[str, str], method: str) -> Signature:
    signature = _build(
        query.get("X-Amz-Credential"),
        query.get("X-Amz-Date"),
        query.get("X-Amz-Signature"),
        query.get("X-Amz-SignedHeaders"),
        payload_hash=None if method == "GET" else query.get("X-Amz-Content-Sha256"),
        session_token=query.get("X-Amz-Security-Token"),
    )
    _check_not_expired(signature.long_date, query.get("X-Amz-Expires"))
    return signature


def read_form_signature(fields: Mapping[str, str]) -> Signature:
    """Return the signature of a POST form; what it signs is the policy.

    The letters' case matters here, as upstream: what boto3 calls `policy` is not found.
    """
    if POLICY not in fields:
        raise errors.invalid_signature("Invalid signature format")
    return _build(
        fields.get("X-Amz-Credential"),
        fields.get("X-Amz-Date"),
        fields.get("X-Amz-Signature"),
        "",
        payload_hash=None,
        session_token=fields.get("X-Amz-Security-Token"),
    )


def _build(
    credential: str | None,
    long_date: str | None,
    value: str | None,
    signed_headers: str | None,
    *,
    payload_hash: str | None,
    session_token: str | None,
) -> Signature:
    if not credential or not long_date or not value or signed_headers is None:
        raise errors.invalid_signature("Invalid signature format")
    parts = credential.split("/")
    if len(parts) != 5:
        raise errors.invalid_signature("Invalid credentials")
    access_key, date, region, service, _ = parts
    return Signature(
        access_key,
        date,
        region,
        service,
        long_date,
        value,
        sorted(signed_headers.split(";")),
        payload_hash or UNSIGNED,
        session_token,
    )


def _check_not_expired(long_date: str, expires: str | None) -> None:
    try:
        signed = datetime.strptime(long_date, _LONG_DATE).replace(tzinfo=UTC)
        end = signed + timedelta(seconds=int(expires or ""))
    except (ValueError, OverflowError) as error:
        raise errors.invalid_signature("Invalid expiration") from error
    if end < datetime.now(UTC):
        raise errors.expired_token()


class Verifier:
    """The secret of one access key."""

    def __init__(self, config: Config, access_key: str, secret: str) -> None:
        self._regions = {config.region, "us-east-1", "auto", ""}
        self._region = config.region
        self._access_key = access_key
        self._secret = secret

    def verify_request(self, signature: Signature, request: Request) -> None:
        """Refuse a request that is not the one that was signed."""
        canonical = canonical_request(signature, request)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        scope = f"{signature.date}/{self._region_for(signature)}/s3/aws4_request"
        text = f"{ALGORITHM}\n{signature.long_date}\n{scope}\n{digest}"
        self._compare(signature, text, signature.value)

    def verify_policy(self, signature: Signature, policy: str) -> None:
        """Refuse a form whose policy is not the one that was signed."""
        self._compare(signature, policy, signature.value)

    def verify_chunk(self, signature: Signature, previous: str, digest: str, value: str) -> None:
        """Refuse a chunk that does not follow the one before it."""
        text = "\n".join(
            (
                f"{ALGORITHM}-PAYLOAD",
                signature.long_date,
                signature.credential_scope,
                previous,
                EMPTY_SHA256,
                digest,
            )
        )
        self._compare(signature, text, value)

    def _compare(self, signature: Signature, text: str, value: str) -> None:
        if not hmac.compare_digest(signature.access_key, self._access_key):
            raise errors.access_denied("Invalid Access Key")
        if signature.service != "s3":
            raise errors.access_denied("Invalid Service")
        key = _signing_key(self._secret, signature.date, self._region_for(signature))
        expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, value):
            raise errors.signature_mismatch()

    def _region_for(self, signature: Signature) -> str:
        # Another region's name is not believed: the signature will not match.
        return signature.region if signature.region in self._regions else self._region


@lru_cache(maxsize=64)
def _signing_key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for word in (date, region, "s3", "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key


def canonical_request(signature: Signature, request: Request) -> str:
    """Write the request the way its signer did."""
    path = quote(unquote(request.scope["raw_path"].decode("latin-1")), safe="/-_.~")
    return "\n".join(
        (
            request.method,
            path,
            _canonical_query(request.scope["query_string"].decode("latin-1")),
            _canonical_headers(signature, request),
            ";".join(signature.signed_headers),
            signature.payload_hash,
        )
    )


def _canonical_query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _canonical_headers(signature: Signature, request: Request) -> str:
    lines = []
    for name in signature.signed_headers:
        values = request.headers.getlist(name)
        if name in _NEVER_SIGNED or not values:
            continue
        if name == "host":
            values = [request.headers.get("x-forwarded-host") or values[0]]
        lines.append(f"{name}:{','.join(' '.join(v.split()) for v in values)}\n")
    return "".join(lines)


def check_policy(policy: str, fields: Mapping[str, str], bucket: str) -> None:
    """Refuse a form that its policy does not allow."""
    document = _decode_policy(policy)
    try:
        expires = datetime.fromisoformat(document["expiration"])
    except (KeyError, TypeError, ValueError) as error:
        raise errors.access_denied("Invalid according to Policy: no expiration") from error
    if expires < datetime.now(UTC):
        raise errors.access_denied("Invalid according to Policy: Policy expired.")
    given = {name.lower(): value for name, value in fields.items()} | {"bucket": bucket}
    for condition in document.get("conditions", []):
        _check_condition(condition, given)


def _decode_policy(policy: str) -> dict[str, Any]:
    try:
        document = json.loads(base64.b64decode(policy))
    except (ValueError, binascii.Error) as error:
        raise errors.access_denied("Invalid according to Policy") from error
    if not isinstance(document, dict):
        raise errors.access_denied("Invalid according to Policy")
    return document


def _check_condition(condition: Any, given: Mapping[str, str]) -> None:
    if isinstance(condition, dict):
        met = all(given.get(name.lower()) == value for name, value in condition.items())
    elif condition[0] == "content-length-range":
        return  # known and not enforced, as upstream
    else:
        value = given.get(condition[1].lstrip("$").lower(), "")
        met = value == condition[2] if condition[0] == "eq" else value.startswith(condition[2])
    if not met:
        raise errors.access_denied(f"Invalid according to Policy: {condition}")
