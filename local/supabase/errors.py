"""Refusals: one exception with a code, rendered as JSON by REST and as XML by S3."""

from __future__ import annotations


class StorageError(Exception):
    """A request that cannot be served, in the words of the Storage API.

    `status` is the true HTTP status (S3 sends it); REST sends 400 for nearly everything and puts
    the true one in the body, unless `rest_status` says otherwise.
    """

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        *,
        error: str | None = None,
        rest_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.error = error or code
        self.rest_status = rest_status or (500 if status == 500 else 400)

    def body(self) -> dict[str, str]:
        """Return the JSON document REST answers with."""
        return {
            "statusCode": str(self.status),
            "code": self.code,
            "error": self.error,
            "message": self.message,
        }


def no_such_bucket() -> StorageError:
    """No bucket of that name, or not for you."""
    return StorageError("NoSuchBucket", 404, "Bucket not found", error="Bucket not found")


def no_such_key() -> StorageError:
    """No object of that name, or not for you."""
    return StorageError("NoSuchKey", 404, "Object not found", error="not_found")


def no_such_upload() -> StorageError:
    """The multipart upload was never created, or is completed or aborted."""
    return StorageError("NoSuchUpload", 404, "Upload not found")


def access_denied(message: str = "Access denied") -> StorageError:
    """Row-level security, a signature or a token said no."""
    return StorageError("AccessDenied", 403, message, error="Unauthorized")


def signature_mismatch() -> StorageError:
    """The caller signed with another key or another request."""
    return StorageError(
        "SignatureDoesNotMatch",
        403,
        "The request signature we calculated does not match the signature you provided."
        " Check your key and signing method.",
    )


def invalid_signature(message: str = "Invalid signature") -> StorageError:
    """The signature cannot be read, or signs something else."""
    return StorageError("InvalidSignature", 400, message)


def invalid_jwt(message: str) -> StorageError:
    """The token in a signed URL is not valid."""
    return StorageError("InvalidJWT", 400, message)


def expired_token() -> StorageError:
    """The signature was good once."""
    return StorageError("ExpiredToken", 400, "The provided token has expired.")


def invalid_request(message: str) -> StorageError:
    """The request itself is malformed."""
    return StorageError("InvalidRequest", 400, message)


def malformed_xml(message: str = "The XML you provided was not well-formed") -> StorageError:
    """The XML body cannot be understood."""
    return StorageError("MalformedXML", 400, message)


def invalid_parameter(name: str) -> StorageError:
    """A parameter has a value outside of what is allowed."""
    return StorageError("InvalidParameter", 400, f"Invalid Parameter {name}")


def missing_parameter(name: str) -> StorageError:
    """A parameter is needed and absent."""
    return StorageError("MissingParameter", 400, f"Missing Required Parameter {name}")


def missing_content_length() -> StorageError:
    """A part must announce its size."""
    return StorageError(
        "MissingContentLength", 400, "You must provide the Content-Length HTTP header."
    )


def invalid_bucket_name() -> StorageError:
    """The bucket's name has letters that are not allowed."""
    return StorageError("InvalidBucketName", 400, "Bucket name invalid", error="Invalid Input")


def invalid_key(key: str) -> StorageError:
    """The object's name has letters that are not allowed."""
    return StorageError("InvalidKey", 400, f"Invalid key: {key}")


def key_too_long() -> StorageError:
    """The object's name has more than 1,024 bytes."""
    return StorageError("KeyTooLongError", 400, "Your key is too long")


def already_exists(code: str = "KeyAlreadyExists") -> StorageError:
    """A bucket or an object of that name is there already."""
    return StorageError(code, 409, "The resource already exists", error="Duplicate")


def bucket_not_empty() -> StorageError:
    """Only an empty bucket can be deleted."""
    return StorageError("ResourceNotEmpty", 409, "The bucket you tried to delete is not empty")


def too_large(entity: str = "object") -> StorageError:
    """The bucket's or the server's size limit is exceeded."""
    return StorageError(
        "EntityTooLarge",
        413,
        f"The {entity} exceeded the maximum allowed size",
        error="Payload too large",
    )


def invalid_mime_type(mime_type: str) -> StorageError:
    """The bucket does not take this content type."""
    return StorageError(
        "InvalidMimeType",
        415,
        f"mime type {mime_type} is not supported",
        error="invalid_mime_type",
    )


def invalid_range(status: int = 416) -> StorageError:
    """The range lies outside of the object."""
    return StorageError(
        "InvalidRange", status, "invalid range provided", error="invalid_range", rest_status=status
    )


def _from_backend(status: int, message: str) -> StorageError:
    """What the S3 under Storage says: its status and its words get through, its code does not."""
    return StorageError("S3Error", status, message)


def invalid_part() -> StorageError:
    """The list names a part that was never stored, or another ETag than the one it has."""
    return _from_backend(
        400,
        "One or more of the specified parts could not be found. The part may not have been"
        " uploaded, or the specified entity tag may not match the part's entity tag.",
    )


def invalid_part_order() -> StorageError:
    """The list of parts must ascend."""
    return _from_backend(400, "The list of parts was not in ascending order")


def too_small() -> StorageError:
    """A part that is not the last one has less than 5 MiB."""
    return _from_backend(400, "Your proposed upload is smaller than the minimum allowed size")


def upload_ended() -> StorageError:
    """The multipart upload was completed or aborted while this request was at it."""
    return _from_backend(
        404,
        "The specified multipart upload does not exist. The upload ID may be invalid, or the"
        " upload may have been aborted or completed.",
    )


def incomplete_body() -> StorageError:
    """The body ended before what was announced."""
    return StorageError("IncompleteBody", 400, "The request body terminated unexpectedly")


def no_content(message: str = "No content provided") -> StorageError:
    """An upload without a file in it."""
    return invalid_request(message)


def database_unavailable() -> StorageError:
    """PostgreSQL is away; it will be back."""
    return StorageError("DatabaseError", 503, "The database is not available", rest_status=503)


def slow_down() -> StorageError:
    """Every connection is in use."""
    return StorageError(
        "SlowDown", 429, "Too many connections issued to the database", rest_status=429
    )


def internal() -> StorageError:
    """Something of ours failed."""
    return StorageError("InternalError", 500, "Internal Server Error", error="Internal")


def no_such_route(method: str, path: str) -> StorageError:
    """Nothing is served there."""
    message = f"Route {method}:{path} not found"
    return StorageError("NotFound", 404, message, error="Not Found", rest_status=404)
