"""The public face of the fleet: `from tasks import transfer`, `transfer.upload.delay(...)`."""

from tasks.cancel import cancel
from tasks.compress import compress
from tasks.copy import copy
from tasks.delete import delete
from tasks.download import download
from tasks.extend import extend
from tasks.history import history
from tasks.inspect import inspect
from tasks.pause import pause
from tasks.persist import persist
from tasks.pin import pin
from tasks.processing import process
from tasks.provenance import provenance
from tasks.register import register
from tasks.retry import retry
from tasks.share import share
from tasks.status import status
from tasks.thumbnail import thumbnail
from tasks.unpause import unpause
from tasks.unpin import unpin
from tasks.unshare import unshare
from tasks.upload import upload
from tasks.upload_many import upload_many
from tasks.usage import usage

__all__ = [
    "cancel",
    "compress",
    "copy",
    "delete",
    "download",
    "extend",
    "history",
    "inspect",
    "pause",
    "persist",
    "pin",
    "process",
    "provenance",
    "register",
    "retry",
    "share",
    "status",
    "thumbnail",
    "unpause",
    "unpin",
    "unshare",
    "upload",
    "upload_many",
    "usage",
]
