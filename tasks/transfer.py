"""The public face of the fleet: `from tasks import transfer`, `transfer.upload.delay(...)`."""

from tasks.delete import delete
from tasks.download import download
from tasks.share import share
from tasks.unshare import unshare
from tasks.upload import upload

__all__ = ["delete", "download", "share", "unshare", "upload"]
