"""Signs S3 requests for one user: AWS Signature Version 4 with a session token.

Supabase takes the project reference as access key, the anon key as secret and the
user's JWT as session token, and then applies that user's row-level security.
The payload is not signed: the server never compares it (see the MD5 check instead).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
from botocore.auth import UNSIGNED_PAYLOAD, S3SigV4Auth
from botocore.awsrequest import AWSRequest

from argosy.errors import InvalidToken

# At DEBUG, botocore logs what it signs: that includes the token.
logging.getLogger("botocore.auth").addFilter(lambda _record: False)

_ONE_LINE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Endpoint:
    """Where the S3 protocol of a Supabase project is (`…/storage/v1/s3`), and its public key."""

    url: str
    project_ref: str
    anon_key: str = field(repr=False)
    region: str = "us-east-1"


class _Credentials(NamedTuple):
    access_key: str
    secret_key: str
    token: str


class _UnsignedPayload(S3SigV4Auth):
    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002
        return str(UNSIGNED_PAYLOAD)


class SessionSignature(httpx.Auth):
    """Signs each request, as it goes on the wire, with the token of that moment."""

    def __init__(self, endpoint: Endpoint, token: Callable[[], str]) -> None:
        self._endpoint = endpoint
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Asks for the token, signs, sends. Raises whatever `token` raises, and InvalidToken."""
        signed = AWSRequest(
            request.method,
            f"{request.url.scheme}://{request.headers['host']}{request.url.raw_path.decode()}",
            headers=_signed_headers(request.headers),
        )
        _UnsignedPayload(self._credentials(), "s3", self._endpoint.region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request

    def _credentials(self) -> _Credentials:
        token = self._token()
        if not _ONE_LINE.fullmatch(token):  # else the HTTP library would quote it in its error
            raise InvalidToken("the access token is empty or has characters that no token has")
        return _Credentials(self._endpoint.project_ref, self._endpoint.anon_key, token)


def _signed_headers(headers: httpx.Headers) -> dict[str, str]:
    """Those that no proxy on the way has a reason to change."""
    return {
        name: value
        for name, value in headers.items()
        if name in {"host", "content-type"} or name.startswith("x-amz-")
    }
