"""An upload as its journal has it: what is to be made, and how far it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from argosy.direct.journal import Journal
from argosy.direct.source import Source
from argosy.direct.wanted import Wanted
from argosy.storage.checksum import Checksums
from argosy.storage.parts import part_ranges


class Header(BaseModel):
    """The journal's header. `part_size` in bytes: None of a file that is sent in one piece."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = 1
    wanted: Wanted
    fingerprint: dict[str, int]
    part_size: int | None
    upload_id: str | None = None
    stored: Checksums | None = None
    """Set once the whole object is in Storage; the fleet may not know of it yet."""


class Begun:
    """One upload of `source`. An earlier call's is gone on with, if the file is unchanged."""

    def __init__(self, journal: Journal, source: Source, fresh: Header) -> None:
        self.journal = journal
        self._source = source
        self._fresh = fresh
        found = _header(journal)
        self.is_old = found is not None and found.fingerprint == fresh.fingerprint
        self.outdated = None if self.is_old else found
        """An upload of what the file was before, to be given up."""
        self.header = found if found and self.is_old else fresh
        self.is_taken_up = self.is_old
        """Whether an earlier call may have told the fleet of it, whatever the journal says."""

    def begin(self) -> None:
        """Note what is to be made, unless an earlier call has; what is outdated is forgotten."""
        if not self.is_old:
            self._write()

    @property
    def wanted(self) -> Wanted:
        """The file that it makes."""
        return self.header.wanted

    @property
    def stored(self) -> Checksums | None:
        """The checksums, once the whole object is there."""
        return self.header.stored

    @property
    def part_size(self) -> int:
        """Bytes in a part; the whole file's, where it is sent in one piece."""
        return self.header.part_size or self._source.size

    @property
    def part_md5s(self) -> list[str] | None:
        """Those of the parts that are there, in order; None where there are to be none."""
        in_order = [etag for _, etag in sorted(self.journal.parts.items())]
        return in_order if self.header.part_size else None

    @property
    def part_hashes(self) -> list[int | None]:
        """XXH3 of each part that is there, as it was sent; None where an older client sent it."""
        return [self.journal.hashes.get(number) for number in self.journal.parts]

    @property
    def missing(self) -> list[tuple[int, int, int]]:
        """Number, offset and length of each part that is not there yet."""
        ranges = enumerate(part_ranges(self._source.size, self.part_size), 1)
        return [(number, *place) for number, place in ranges if number not in self.journal.parts]

    @property
    def bytes_there(self) -> int:
        """What need not be sent again."""
        if self.stored:
            return self._source.size
        return self._source.size - sum(length for _, _, length in self.missing)

    def created(self, upload_id: str) -> None:
        """The multipart upload has begun."""
        self.header = self.header.model_copy(update={"upload_id": upload_id})
        self._write()  # anew: parts of no upload must not be taken for parts of this one

    def completed(self, sums: Checksums) -> None:
        """The whole object is there."""
        self.header = self.header.model_copy(update={"stored": sums})
        self.journal.amend(**self.header.model_dump(mode="json", include={"stored"}))

    def replace(self) -> None:
        """What was stored is gone: another transfer begins."""
        self.header, self.is_old, self.is_taken_up = self._fresh, False, False
        self._write()

    def start_anew(self) -> None:
        """Nothing is there any more. The transfer stays the same."""
        self.header = self.header.model_copy(update={"upload_id": None, "stored": None})
        self.is_old = False
        self._write()

    def _write(self) -> None:
        self.journal.begin(self.header.model_dump(mode="json"))


def _header(journal: Journal) -> Header | None:
    """What the journal says, if this version can read it."""
    try:
        return Header.model_validate(journal.header) if journal.header else None
    except ValidationError:
        return None
