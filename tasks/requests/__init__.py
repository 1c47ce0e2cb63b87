"""Requests from agents, checked once, at the door."""

from tasks.requests.base import Request, RequestT, TransferRequest, parse
from tasks.requests.copies import CopyRequest
from tasks.requests.downloads import DownloadRequest
from tasks.requests.pins import PinRequest, UnpinRequest
from tasks.requests.places import Place, check_place
from tasks.requests.registering import RegisterRequest
from tasks.requests.sharing import ShareRequest, UnshareRequest
from tasks.requests.staying import DeleteRequest, ExtendRequest
from tasks.requests.steps import (
    CompressRequest,
    InspectRequest,
    ProcessRequest,
    StepRequest,
    ThumbnailRequest,
)
from tasks.requests.stored import StoredFileRequest
from tasks.requests.uploads import UploadManyRequest, UploadRequest

__all__ = [
    "CompressRequest",
    "CopyRequest",
    "DeleteRequest",
    "DownloadRequest",
    "ExtendRequest",
    "InspectRequest",
    "PinRequest",
    "Place",
    "ProcessRequest",
    "RegisterRequest",
    "Request",
    "RequestT",
    "ShareRequest",
    "StepRequest",
    "StoredFileRequest",
    "ThumbnailRequest",
    "TransferRequest",
    "UnpinRequest",
    "UnshareRequest",
    "UploadManyRequest",
    "UploadRequest",
    "check_place",
    "parse",
]
