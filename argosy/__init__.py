"""Argosy carries large files between software agents through Supabase Storage."""

from argosy.auth import login
from argosy.errors import Error
from argosy.reference import FileReference

__all__ = ["Error", "FileReference", "login"]
