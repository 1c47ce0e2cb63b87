"""Spools that only some workers have: which one a path is in, and the queues that lead there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

from argosy.settings import FleetSettings


def spool_of(settings: FleetSettings, path: str) -> str | None:
    """The name of the spool that a path is in; None where it is in none that has a name."""
    parents = set(map(str, PurePosixPath(path).parents))
    folders = {folder: name for name, folder in settings.spools.items() if folder in parents}
    return folders[max(folders, key=len)] if folders else None


def own_spools(settings: FleetSettings) -> Sequence[str]:
    """Names of those that this process has."""
    roots = set(map(str, settings.spool))
    return [name for name, folder in settings.spools.items() if os.path.realpath(folder) in roots]


def elsewhere(settings: FleetSettings, path: str) -> str | None:
    """The name of the spool of a path, where this process does not have it."""
    spool = spool_of(settings, path)
    return None if spool in own_spools(settings) else spool


def at_spool(queue: str, spool: str | None) -> str:
    """The queue of the same work for the workers that have this spool."""
    return queue if spool is None else f"{queue}@{spool}"
