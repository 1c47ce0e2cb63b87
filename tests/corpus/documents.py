"""PDF files, written by hand (ISO 32000-1): pages with a coloured square, locked or not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
"""Algorithm 2, step a: what fills a password up to 32 bytes."""
FILE_ID = b"argosy-corpus-01"
PERMISSIONS = -4
DRAWING = b"1 0 0 rg 50 50 100 100 re f"


def pdf(pages: int) -> bytes:
    """`pages` pages of 200 x 300 points, a red square on each."""
    return _file(_objects(pages, lambda _, content: content), b"")


def encrypted_pdf(password: bytes) -> bytes:
    """One page, encrypted by the standard handler, revision 2 (RC4, 40 bits).

    With an empty password every reader opens it unasked.
    """
    owner = _rc4(hashlib.md5(_padded(b"owner"), usedforsecurity=False).digest()[:5],
                 _padded(password))  # fmt: skip
    seed = _padded(password) + owner + PERMISSIONS.to_bytes(4, "little", signed=True) + FILE_ID
    key = hashlib.md5(seed, usedforsecurity=False).digest()[:5]

    def locked(number: int, content: bytes) -> bytes:
        salted = key + number.to_bytes(3, "little") + b"\0\0"
        return _rc4(hashlib.md5(salted, usedforsecurity=False).digest()[:10], content)

    objects = _objects(1, locked)
    objects.append(
        b"<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P %d>>"
        % (owner.hex().encode(), _rc4(key, PADDING).hex().encode(), PERMISSIONS)
    )
    extra = b"/Encrypt %d 0 R/ID[<%s><%s>]" % (len(objects), *[FILE_ID.hex().encode()] * 2)
    return _file(objects, extra)


def _objects(pages: int, written: Callable[[int, bytes], bytes]) -> list[bytes]:
    kids = b" ".join(b"%d 0 R" % (3 + 2 * page) for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d/MediaBox[0 0 200 300]>>" % (kids, pages),
    ]
    for page in range(pages):
        number = 4 + 2 * page
        content = written(number, DRAWING)
        objects.append(b"<</Type/Page/Parent 2 0 R/Contents %d 0 R>>" % number)
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
    return objects


def _file(objects: list[bytes], extra: bytes) -> bytes:
    content = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    content += b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n" % (
        len(objects) + 1, extra, start)  # fmt: skip
    return bytes(content)


def _padded(password: bytes) -> bytes:
    return (password + PADDING)[:32]


def _rc4(key: bytes, content: bytes) -> bytes:
    state = list(range(256))
    swap = 0
    for at in range(256):
        swap = (swap + state[at] + key[at % len(key)]) % 256
        state[at], state[swap] = state[swap], state[at]
    result, one, two = bytearray(), 0, 0
    for byte in content:
        one = (one + 1) % 256
        two = (two + state[one]) % 256
        state[one], state[two] = state[two], state[one]
        result.append(byte ^ state[(state[one] + state[two]) % 256])
    return bytes(result)
