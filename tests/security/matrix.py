"""Who may do what with which file: all of it, as data. No line of this asks the fleet.

Three tables say it: what a caller may do in a place (ACCESS), what an operation needs and
how it is refused (RULES, TASKS), and who is not even listened to (DOORS, TASK_DOORS).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

ACCESS = """
                            admin   worker   reader   nobody
own folder                  rw      rw       r        -
object granted to read      rw      r        r        -
object granted to write     rw      rw       r        -
folder granted to read      rw      r        r        -
folder granted to write     rw      rw       r        -
role granted to read        rw      r        r        -
role granted to write       rw      rw       r        -
another role was granted    rw      -        -        -
bucket granted to read      rw      r        r        -
bucket granted to write     rw      rw       r        -
expired grant to read       rw      -        -        -
expired grant to write      rw      -        -        -
beside a granted folder     rw      -        -        -
beside one's own folder     rw      -        -        -
somebody else's             rw      -        -        -
own folder, other bucket    -       -        -        -
granted, other bucket       -       -        -        -
"""
"""What each kind of caller may do in each place: read, write. Both are asked of every operation."""

CALLERS = {
    "admin": "admin",
    "worker": "worker",
    "reader": "reader",
    "disabled worker": "nobody",
    "disabled admin": "nobody",
    "unknown": "nobody",
    "anonymous": "nobody",
    "no token": "nobody",
    "expired": "nobody",
}
"""Everybody who asks, and the column above. `unknown` is a user of Auth who is no agent,
`anonymous` has the project's public key, `expired` is a worker whose token was good once."""

RULES = """
REST read               here r else hidden
REST head               here r else hidden
REST open read          here r else hidden
REST open head          here r else hidden
REST open info          here r else hidden
REST sign               here r else hidden
REST sign many          here r else unseen
REST list               here r else unseen
REST list of a folder   here r else unseen
REST insert             here w else denied
REST upsert             here w else denied
REST update             here w else denied
REST sign upload        here w else denied
REST delete             here w else denied
REST delete many        here w else unseen
REST move               here r else hidden, here w else denied
REST move out           here r else hidden, here w else denied, own w else denied
REST move in            own r else hidden, own w else denied, here w else denied
REST copy out           here r else hidden, own w else denied
REST copy in            own r else hidden, here w else denied
S3 read                 here r else hidden
S3 read a range         here r else hidden
S3 head                 here r else hidden
S3 tags                 here r else hidden
S3 list                 here r else unseen
S3 list, version 1      here r else unseen
S3 put new              here w else denied
S3 put                  here w else denied
S3 delete               here w else denied
S3 delete many          here w else unseen
S3 copy out             here r else hidden, own w else denied
S3 copy in              own r else hidden, here w else denied
S3 create               here w else denied
S3 part                 here w else denied
S3 part of an object    here r else hidden, own w else denied
S3 complete             here w else denied
S3 abort                here w else denied
S3 list uploads         here w else unseen
S3 list parts           here w else unseen
"""
"""What an operation needs, in the order in which it is looked at, and what is answered without.
`out` is from here into one's own folder, `in` is from there to here."""

DOORS = """
             REST        REST open   S3
no token     no header   no bucket   denied
expired      denied      no bucket   denied
"""
"""Who is turned away before anything is looked at, and how each protocol says so."""

ANSWERS = {
    ("REST", "hidden"): (400, "404", "NoSuchKey"),
    ("REST", "denied"): (400, "403", "AccessDenied"),
    ("REST", "no bucket"): (400, "404", "NoSuchBucket"),
    ("REST", "no header"): (400, "400", "InvalidRequest"),
    ("REST", "unseen"): (200, None, None),
    ("S3", "hidden"): (404, None, "NoSuchKey"),
    ("S3", "denied"): (403, None, "AccessDenied"),
    ("S3", "unseen"): (200, None, None),
}
"""HTTP status, `statusCode` and `code` of an answer. Unseen: as if it were not there."""

TASKS = """
upload            here b else bucket_not_found, here w else access_denied
upload many       here b else bucket_not_found, here w else access_denied
download          here r else object_not_found
share             here r else object_not_found, here s else access_denied
share a folder    here b else bucket_not_found, here s else access_denied
unshare           here b else bucket_not_found, here s else access_denied
delete            here r else object_not_found, here w else access_denied
pin               here r else object_not_found
copy            here r else object_not_found, here b else bucket_not_found, own w else access_denied
"""
"""The same for the tasks, which answer with an error's code. `s` is in SHARERS, `b` is a place
in one of the fleet's buckets."""

SHARERS = {"admin": "", "worker": "own folder"}
"""Who may make and take back grants in scopes whose name begins so."""

TASK_DOORS = {
    "no token": "not_signed_in",
    "anonymous": "invalid_token",
    "expired": "invalid_token",
    "unknown": "access_denied",
    "disabled worker": "access_denied",
    "disabled admin": "access_denied",
}
"""Who is refused before anything is looked at."""


def _columns(table: str) -> dict[tuple[str, str], str]:
    header, *lines = table.strip("\n").splitlines()
    starts = [header.index(name) for name in _words(header)]
    found = {}
    for line in lines:
        cells = [line[a:b].strip() for a, b in zip([0, *starts], [*starts, len(line)], strict=True)]
        found |= {
            (cells[0], name): cell for name, cell in zip(_words(header), cells[1:], strict=True)
        }
    return found


def _words(header: str) -> list[str]:
    return [word.strip() for word in header.split("  ") if word.strip()]


_ACCESS = _columns(ACCESS)
_DOORS = _columns(DOORS)
SCOPES = tuple(dict.fromkeys(scope for scope, _ in _ACCESS))


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked, and what it needs: (where, what, what is said without it)."""

    name: str
    needs: tuple[tuple[str, str, str], ...]

    @property
    def protocol(self) -> str:
        """REST or S3."""
        return self.name.partition(" ")[0]

    @property
    def door(self) -> str:
        """Which column of DOORS: the open routes of REST take anybody, for public buckets."""
        return "REST open" if self.name.startswith("REST open") else self.protocol


def _operations(rules: str) -> dict[str, Operation]:
    found = {}
    for line in rules.strip().splitlines():
        name, rule = (part.strip() for part in line.split("  ", 1))
        parts = (need.split() for need in rule.split(", "))
        needs = tuple((where, what, otherwise) for where, what, _, otherwise in parts)
        found[name] = Operation(name, needs)
    return found


OPERATIONS = _operations(RULES)
TASK_OPERATIONS = _operations(TASKS)
ALLOWED = "allowed"


@dataclass(frozen=True)
class Cell:
    """One question of the matrix, and its answer."""

    caller: str
    scope: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.caller} - {self.scope} - {self.operation.name}"

    @property
    def outcome(self) -> str:
        """What must come of it: allowed, or the way in which it is refused."""
        if (self.caller, self.operation.door) in _DOORS:
            return _DOORS[self.caller, self.operation.door]
        return lacking(self.caller, self.scope, self.operation)


@dataclass(frozen=True)
class TaskCell(Cell):
    """The same of a task."""

    @property
    def outcome(self) -> str:
        """Allowed, or the code of the error."""
        return TASK_DOORS.get(self.caller) or lacking(self.caller, self.scope, self.operation)


def lacking(caller: str, scope: str, operation: Operation) -> str:
    """What is answered for the first thing that the caller has not, or ALLOWED."""
    for where, what, otherwise in operation.needs:
        if what not in may(caller, scope if where == "here" else "own folder"):
            return otherwise
    return ALLOWED


def may(caller: str, scope: str) -> str:
    """Letters of `r`, `w`, `s` and `b`."""
    shares = caller in SHARERS and scope.startswith(SHARERS[caller])
    of_the_fleet = not scope.endswith("other bucket")
    return _ACCESS[scope, CALLERS[caller]] + "s" * shares + "b" * of_the_fleet


CELLS = [
    Cell(caller, scope, operation)
    for caller, scope, operation in product(CALLERS, SCOPES, OPERATIONS.values())
]
TASK_CELLS = [
    TaskCell(caller, scope, operation)
    for caller, scope, operation in product(CALLERS, SCOPES, TASK_OPERATIONS.values())
    if not operation.name.startswith("upload") or scope.startswith("own folder")
]
