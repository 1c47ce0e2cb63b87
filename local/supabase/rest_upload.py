"""REST: objects on their way in."""

from __future__ import annotations

import base64
import binascii
import json
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from local.supabase import errors, limits, objects
from local.supabase.catalog import Metadata
from local.supabase.database import Row, Scope
from local.supabase.formdata import Form
from local.supabase.objects import Upload
from local.supabase.rest import JSON, caller
from local.supabase.services import Services, services_of
from local.supabase.transfer import Chunks, body_of

_MAX_USER_METADATA = limits.MIB


async def create(request: Request) -> Response:
    """Upload an object; `x-upsert: true` allows to replace one."""
    upsert = request.headers.get("x-upsert") == "true"
    return await _upload(request, caller(request), upsert=upsert)


async def update(request: Request) -> Response:
    """Upload an object in place of another."""
    return await _upload(request, caller(request), upsert=True)


async def _upload(request: Request, scope: Scope, *, upsert: bool) -> Response:
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    row = await _receive(services_of(request), scope, request, upsert=upsert)
    return JSON({"Id": row["id"], "Key": f"{bucket}/{key}"})


async def _receive(services: Services, scope: Scope, request: Request, *, upsert: bool) -> Row:
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        upload, chunks = await _from_form(request, content_type, upsert=upsert)
        return await objects.store(services, scope, upload, chunks, always_limit=True)
    length = request.headers.get("content-length")
    upload = Upload(
        request.path_params["bucket"],
        request.path_params["key"],
        content_type or "application/octet-stream",
        request.headers.get("cache-control", "no-cache"),
        user_metadata_of(request),
        upsert=upsert,
        declared_length=int(length) if length else None,
    )
    # Without an announced length the size is not limited: upstream has it so.
    return await objects.store(services, scope, upload, body_of(request), always_limit=False)


def user_metadata_of(request: Request) -> Metadata | None:
    """Read x-metadata: a JSON object in base64; anything else is ignored."""
    try:
        return _json_object(base64.b64decode(request.headers.get("x-metadata", "")))
    except binascii.Error:
        return None


def _json_object(text: str | bytes) -> Metadata | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


async def _from_form(request: Request, content_type: str, *, upsert: bool) -> tuple[Upload, Chunks]:
    form = Form(content_type, body_of(request))
    await form.read_fields()
    fields = form.fields
    said = fields.get("metadata") or fields.get("userMetadata") or ""
    if len(said.encode()) > _MAX_USER_METADATA:
        raise errors.too_large("user_metadata")
    seconds = fields.get("cacheControl")
    upload = Upload(
        request.path_params["bucket"],
        request.path_params["key"],
        fields.get("contentType") or form.file_type,
        f"max-age={seconds}" if seconds else "no-cache",
        _json_object(said),
        upsert=upsert,
    )
    return upload, form.file()


# ---------------------------------------------------------------- signed upload URLs


async def sign(request: Request) -> Response:
    """Make a URL that lets its bearer upload one object."""
    services, scope = services_of(request), caller(request)
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    upsert = request.headers.get("x-upsert") == "true"
    await objects.may_write(
        services,
        scope,
        bucket,
        key,
        metadata={"mimetype": request.headers.get("content-type")},
        user_metadata=user_metadata_of(request),
        upsert=upsert,
    )
    now = int(time.time())
    claims: dict[str, Any] = {"owner": scope.owner_id, "url": f"{bucket}/{key}", "upsert": upsert}
    claims |= {"scope": "upload", "iat": now}
    claims["exp"] = now + services.config.signed_upload_seconds
    token = services.keys.sign_with_secret(claims)
    return JSON({"url": f"/object/upload/sign/{bucket}/{key}?token={token}", "token": token})


async def upload_signed(request: Request) -> Response:
    """Upload with a signed URL: its token stands for the permission that was checked then."""
    services = services_of(request)
    claims = signed_claims(services, request, "upload")
    owner = claims.get("owner")
    scope = services.scope_of(services.config.service_role_key)
    scope = Scope("service_role", {**scope.claims, **({"sub": owner} if owner else {})})
    await _receive(services, scope, request, upsert=bool(claims.get("upsert")))
    bucket, key = request.path_params["bucket"], request.path_params["key"]
    return JSON({"Key": f"{bucket}/{key}"})


def signed_claims(services: Services, request: Request, purpose: str) -> dict[str, Any]:
    """Return the claims of a signed URL's token, if it was made for this object and purpose."""
    token = request.query_params.get("token")
    if token is None:
        message = "querystring must have required property 'token'"
        raise errors.StorageError("InvalidRequest", 400, message, error="Error")
    try:
        claims = services.keys.verify(token)
    except errors.StorageError as error:
        raise errors.invalid_jwt(str(error)) from error
    if claims.get("scope") != purpose:
        raise errors.invalid_signature(f"Token is not scoped for {purpose}")
    if claims.get("url") != f"{request.path_params['bucket']}/{request.path_params['key']}":
        raise errors.invalid_signature()
    return claims
