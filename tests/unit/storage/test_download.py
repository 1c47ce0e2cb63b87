"""Reading bytes: continued where they were cut, and never those of another version."""

from __future__ import annotations

import os
import threading

import pytest

from argosy import errors
from argosy.storage.checksum import EMPTY_MD5
from argosy.storage.s3 import ObjectStore

from .scripted import ScriptedServer, Step, answer, refuse, reset, send_head, serve

CONTENT = os.urandom(3 * 1024 * 1024 + 17)


def test_the_whole(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT))
    assert b"".join(store.get("b", "k")) == CONTENT
    assert "range" not in server.requests[0].headers
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("start", "length"), [(0, 10), (5, None), (1_000_000, 2_000_000), (7, 1)])
def test_a_range(server: ScriptedServer, store: ObjectStore, start: int, length: int) -> None:
    server.script(serve(CONTENT))
    end = None if length is None else start + length
    assert b"".join(store.get("b", "k", start=start, length=length)) == CONTENT[start:end]


def test_nothing_is_asked_for_nothing(server: ScriptedServer, store: ObjectStore) -> None:
    assert list(store.get("b", "k", length=0)) == []
    assert server.requests == []


def test_an_empty_object(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(b""))
    assert list(store.get("b", "k")) == []


@pytest.mark.parametrize(("start", "length"), [(0, None), (100, 2_500_000)])
def test_a_cut_body_is_continued(
    server: ScriptedServer, store: ObjectStore, start: int, length: int | None
) -> None:
    cut = serve(CONTENT, cut_after=500_000)
    server.script(cut, cut, reset(head=cut), answer(502, b"<html>"), serve(CONTENT))
    got = b"".join(store.get("b", "k", start=start, length=length))
    assert got == CONTENT[start : None if length is None else start + length]
    assert server.requests[1].headers["range"].startswith(f"bytes={start + 500_000}-")


def test_progress_renews_the_retry_budget(server: ScriptedServer, store: ObjectStore) -> None:
    content = CONTENT * 6
    server.script(*[serve(content, cut_after=1_100_000)] * 15, serve(content))
    assert b"".join(store.get("b", "k")) == content


def test_no_progress_ends_in_the_last_error(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT, cut_after=10))
    with pytest.raises(errors.StorageUnavailable):
        list(store.get("b", "k"))
    assert len(server.requests) == 6


def test_a_server_that_stops_talking(server: ScriptedServer, hasty: ObjectStore) -> None:
    started = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: v1\r\n\r\nnine"
    server.script(server.stall(before=started), serve(b"nine more", etag="v1"))
    assert b"".join(hasty.get("b", "k")) == b"nine more"


def test_a_server_that_drips_is_given_up(server: ScriptedServer, hasty: ObjectStore) -> None:
    server.script(server.drip({"ETag": "v1"}, every=0.01), answer(404))
    with pytest.raises(errors.ObjectNotFound):
        list(hasty.get("b", "k"))
    assert len(server.requests) >= 2  # a stalled machine is given up like a server that drips


def test_another_version_is_refused(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT, etag="v2"))
    with pytest.raises(errors.ObjectChanged):
        list(store.get("b", "k", etag="v1"))
    assert len(server.requests) == 1


def test_a_change_between_two_ranges_is_noticed(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT, etag="v1", cut_after=200_000), serve(CONTENT, etag="v2"))
    got = bytearray()
    with pytest.raises(errors.ObjectChanged):
        for block in store.get("b", "k"):
            got += block
    assert bytes(got) == CONTENT[:200_000]


def test_quotes_and_weakness_of_an_etag_do_not_matter(
    server: ScriptedServer, store: ObjectStore
) -> None:
    server.script(serve(b"abc", etag="v1"))
    assert list(store.get("b", "k", etag='W/"v1"')) == [b"abc"]


def ranged(said: str, body: bytes = b"abc", status: int = 206) -> Step:
    return answer(status, body, etag="v1", content_range=said)


@pytest.mark.parametrize(
    "step",
    [
        answer(200, CONTENT[:100], etag="v1"),
        ranged("bytes 0-2/100"),
        ranged("bytes 10-12/100"),
        ranged("bytes 10-19/*"),
        ranged("nonsense"),
        answer(206, b"0123456789", etag="v1"),
        ranged("bytes 10-14/15", b"01234"),
        refuse(416, "InvalidRange"),
        refuse(500, "InvalidRange"),
        answer(206, b"0123456789", content_range="bytes 10-19/100"),
        answer(
            206,
            b"0123456789",
            etag="v1",
            content_range="bytes 10-19/100",
            content_encoding="gzip",
        ),
    ],
)
def test_an_answer_to_another_question_is_no_data(
    server: ScriptedServer, store: ObjectStore, step: Step
) -> None:
    server.script(step)
    with pytest.raises(errors.StorageRefused):
        list(store.get("b", "k", start=10, length=10))
    assert len(server.requests) == 1


def test_a_body_of_unknown_length_is_not_trusted(
    server: ScriptedServer, store: ObjectStore
) -> None:
    def until_close(request, connection):
        send_head(connection, 200, None, {"ETag": "v1"})
        connection.sendall(b"half of i")

    server.script(until_close)
    with pytest.raises(errors.StorageUnavailable, match="how long"):
        list(store.get("b", "k"))


def test_stopping_early_closes_the_connection(server: ScriptedServer, store: ObjectStore) -> None:
    closed = threading.Event()

    def endless(request, connection):
        send_head(connection, 200, 1 << 40, {"ETag": "v1"})
        try:
            while True:
                connection.sendall(bytes(65536))
        except OSError:
            closed.set()

    server.script(endless)
    blocks = store.get("b", "k")
    next(blocks)
    blocks.close()
    assert closed.wait(30)


def test_head(server: ScriptedServer, store: ObjectStore) -> None:
    headers = {
        "etag": '"v1"',
        "content_type": "text/plain",
        "last_modified": "Sun, 22 Nov 2026 10:00:00 GMT",
        "x_amz_meta_name": "%D0%9F%D0%BB%D0%B0%D0%BD",
        "x_amz_meta_foreign": "100%",
    }
    server.script(answer(200, b"", announced=1 << 35, **headers))
    head = store.head("b", "k")
    assert head.size == 1 << 35
    assert head.etag == "v1"
    assert head.content_type == "text/plain"
    assert head.metadata == {"name": "План", "foreign": "100%"}
    assert head.last_modified.isoformat() == "2026-11-22T10:00:00+00:00"


def test_head_without_a_length_is_no_empty_object(
    server: ScriptedServer, store: ObjectStore
) -> None:
    def without_length(request, connection):
        headers = {"etag": '"v1"', "last_modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
        send_head(connection, 200, None, headers)

    server.script(without_length)
    with pytest.raises(errors.StorageUnavailable, match=r"look at b/k: .* does not say how long"):
        store.head("b", "k")


def test_head_of_an_empty_object_may_leave_out_its_length(
    server: ScriptedServer, store: ObjectStore
) -> None:
    """As Storage did for long; its ETag says that there is nothing."""

    def without_length(request, connection):
        headers = {"etag": f'"{EMPTY_MD5}"', "last_modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
        send_head(connection, 200, None, headers)

    server.script(without_length)
    assert store.head("b", "k").size == 0


@pytest.mark.parametrize(
    ("status", "expected"), [(404, errors.ObjectNotFound), (403, errors.AccessDenied)]
)
def test_head_of_what_is_not_there(
    server: ScriptedServer, store: ObjectStore, status: int, expected: type[errors.Error]
) -> None:
    server.script(answer(status))
    with pytest.raises(expected):
        store.head("b", "k")
