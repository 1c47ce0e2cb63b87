"""Who an S3 request speaks for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import Request

from local.supabase import errors, sigv4
from local.supabase.awschunked import Coding, decode
from local.supabase.database import Scope
from local.supabase.services import Services
from local.supabase.transfer import Chunks, body_of


@dataclass(frozen=True)
class Caller:
    """A verified signer, with what is needed to read a signed body."""

    scope: Scope
    signature: sigv4.Signature
    verifier: sigv4.Verifier

    def body_of(self, request: Request) -> tuple[Chunks, int | None]:
        """Return the body without its aws-chunked coding, and the length announced for it."""
        coding = Coding.of(self.signature.payload_hash)
        length = request.headers.get("content-length")
        if coding is None:
            return body_of(request), _number(length)
        decoded_length = request.headers.get("x-amz-decoded-content-length")

        def verify(previous: str, digest: str, value: str) -> None:
            self.verifier.verify_chunk(self.signature, previous, digest, value)

        chunks = decode(body_of(request), coding, self.signature.value, verify)
        return chunks, _number(decoded_length)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def authenticate(services: Services, request: Request) -> Caller:
    """Verify a request signed in its header or its query."""
    signature = sigv4.read_signature(request)
    if signature is None:
        raise errors.access_denied("Missing signature")
    verifier = _verifier(services, signature)
    verifier.verify_request(signature, request)
    return Caller(_scope(services, signature), signature, verifier)


def authenticate_form(services: Services, fields: dict[str, str]) -> Scope:
    """Verify a POST form by its policy's signature."""
    signature = sigv4.read_form_signature(fields)
    _verifier(services, signature).verify_policy(signature, fields[sigv4.POLICY])
    return _scope(services, signature)


def _verifier(services: Services, signature: sigv4.Signature) -> sigv4.Verifier:
    config = services.config
    if signature.session_token:
        return sigv4.Verifier(config, config.project_ref, config.anon_key)
    if not config.s3_access_key_id or not config.s3_secret_access_key:
        raise errors.access_denied(
            "Missing S3 Protocol Access Key ID or Secret Key Environment variables"
        )
    return sigv4.Verifier(config, config.s3_access_key_id, config.s3_secret_access_key)


def _scope(services: Services, signature: sigv4.Signature) -> Scope:
    # Static keys act as service_role; a session token brings its own role and claims.
    token = signature.session_token or services.config.service_role_key
    return replace(services.scope_of(token), operation="s3")
