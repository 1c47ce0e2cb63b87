"""The public face of the fleet: `from tasks import transfer`, `transfer.upload.delay(...)`."""

from tasks.cancel import cancel
from tasks.delete import delete
from tasks.download import download
from tasks.history import history
from tasks.pause import pause
from tasks.pin import pin
from tasks.register import register
from tasks.share import share
from tasks.status import status
from tasks.unpause import unpause
from tasks.unpin import unpin
from tasks.unshare import unshare
from tasks.upload import upload

__all__ = [
    "cancel",
    "delete",
    "download",
    "history",
    "pause",
    "pin",
    "register",
    "share",
    "status",
    "unpause",
    "unpin",
    "unshare",
    "upload",
]
