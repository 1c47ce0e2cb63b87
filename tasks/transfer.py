"""The public face of the fleet: `from tasks import transfer`, `transfer.upload.delay(...)`."""

from tasks.download import download
from tasks.upload import upload

__all__ = ["download", "upload"]
