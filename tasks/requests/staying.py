"""Requests about how long a stored file stays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.requests.fields import MAX_DAYS
from tasks.requests.places import Place
from tasks.requests.stored import ReferenceRequest


class DeleteRequest(ReferenceRequest):
    """`transfer.delete`."""

    @property
    def place(self) -> Place:
        """What is meant, unchecked: what is no place is not there."""
        return Place.model_construct(bucket=self.reference.bucket, path=self.reference.path)


class ExtendRequest(DeleteRequest):
    """`transfer.extend`; `days` from now."""

    days: Annotated[float, Field(gt=0, le=MAX_DAYS, allow_inf_nan=False)] | None = None
