"""Requests to copy a stored file inside Storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_validator

from argosy.fields import Bucket, FileName
from argosy.reference import FileReference
from models import Kind
from tasks.requests.base import TransferRequest
from tasks.requests.description import BY_THE_FLEET, check_description, checked
from tasks.requests.fields import Grantees
from tasks.requests.places import Place
from tasks.requests.stored import ReferenceRequest


class CopyRequest(ReferenceRequest, TransferRequest):
    """`transfer.copy`, and `transfer.persist`, whose bucket is the fleet's to say."""

    # Nor is it another request for what may have been learnt of the file meanwhile.
    NOT_ASKED: ClassVar[Mapping[str, Any]] = {
        "reference": BY_THE_FLEET | {"facts"},
        "idempotency_key": True,
    }

    bucket: Bucket | None = None
    name: FileName | None = None
    share_with: Grantees = ()

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        return checked(file, "copied")

    @model_validator(mode="after")
    def _check_metadata(self) -> Self:
        check_description(self.real_name, self.reference.metadata)
        return self

    @property
    def source(self) -> Place:
        """What is to be copied."""
        return Place(bucket=self.reference.bucket, path=self.reference.path)

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.COPY

    @property
    def real_name(self) -> str:
        """The copy's name as people know it."""
        return self.name or self.reference.name

    @property
    def target_bucket(self) -> str:
        """Where the copy goes: beside its original, unless it was said."""
        return self.bucket or self.reference.bucket
