"""What a deployment needs before its first transfer: the schema, the policies, the buckets."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config

from alembic import command
from argosy.settings import FleetSettings
from argosy.storage.control import BucketInfo, ControlPlane

ROOT = Path(__file__).resolve().parent.parent

PERSISTENT_BUCKET = "persistent-data"
"""The bucket whose files are kept until somebody deletes them."""


def migrate(revision: str = "head") -> None:
    """Bring schema `argosy` and its policies up to date; safe to repeat."""
    command.upgrade(Config(toml_file=str(ROOT / "pyproject.toml")), revision)


def ensure_buckets(settings: FleetSettings) -> list[str]:
    """Create or correct the fleet's buckets, and return the names of those that changed."""
    key = settings.supabase_service_role_key.get_secret_value()
    control = ControlPlane(settings.supabase_url, key)
    wanted = [
        BucketInfo(name, public=False, size_limit=settings.bucket_size_limit, allowed_types=None)
        for name in (settings.bucket, PERSISTENT_BUCKET)
    ]
    return [bucket.name for bucket in wanted if control.ensure_bucket(bucket)]
