from __future__ import annotations

import hashlib
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
from supabase_clients import s3_client
from supabase_servers import Postgres, Supabase, wait_for

MIB = 1024 * 1024


def client_of(server: Supabase) -> httpx.Client:
    headers = {"authorization": f"Bearer {server.service_key}", "x-upsert": "true"}
    return httpx.Client(base_url=server.url + "/storage/v1", headers=headers, timeout=60)


def send_half(server: Supabase, path: str, *, kill: bool = False) -> None:
    """Announce 4 MiB, send 3, and go away (or let the server be killed)."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = (
            f"POST /storage/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {4 * MIB}\r\n"
            f"Authorization: Bearer {server.service_key}\r\n\r\n"
        )
        connection.sendall(head.encode() + b"x" * (3 * MIB))
        wait_for(lambda: bool(list((server.data / "tmp").iterdir())))
        if kill:
            server.stop(signal.SIGKILL)


def test_a_dropped_upload_leaves_nothing(own_server: Supabase, bucket: str) -> None:
    send_half(own_server, f"/object/{bucket}/dropped")
    wait_for(lambda: not own_server.files())
    with client_of(own_server) as rest:
        assert rest.get(f"/object/{bucket}/dropped").json()["statusCode"] == "404"


def test_a_kill_in_the_middle_of_an_upload_leaves_nothing(
    own_server: Supabase, bucket: str
) -> None:
    send_half(own_server, f"/object/{bucket}/killed", kill=True)
    assert own_server.files()
    own_server.start()
    assert not own_server.files()


def test_a_kill_loses_nothing_that_was_acknowledged(own_server: Supabase, bucket: str) -> None:
    s3 = s3_client(own_server, "static-key", "static-secret")
    s3.put_object(Bucket=bucket, Key="stored", Body=b"safe")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    where = {"Bucket": bucket, "Key": "big", "UploadId": upload}
    first = b"1" * 5 * MIB
    s3.upload_part(**where, PartNumber=1, Body=first)
    own_server.stop(signal.SIGKILL)
    own_server.start()
    s3 = s3_client(own_server, "static-key", "static-secret")
    s3.upload_part(**where, PartNumber=2, Body=b"2")
    s3.complete_multipart_upload(**where)
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == first + b"2"
    assert s3.get_object(Bucket=bucket, Key="stored")["Body"].read() == b"safe"


def test_bytes_without_a_row_are_swept_at_start(own_server: Supabase, bucket: str) -> None:
    with client_of(own_server) as rest:
        rest.post(f"/object/{bucket}/kept", content=b"kept")
        (kept,) = own_server.files()
        own_server.stop(signal.SIGKILL)
        lost = "00000000-0000-4000-8000-000000000000"
        (own_server.data / "objects" / "00").mkdir(exist_ok=True)
        (own_server.data / "objects" / "00" / lost).write_bytes(b"no row")
        for version in (lost, kept.name):  # both died between the file and the commit's answer
            (own_server.data / "tmp" / version).touch()
        own_server.start()
        assert own_server.files() == [kept]
        assert rest.get(f"/object/{bucket}/kept").content == b"kept"


def test_parallel_puts_of_one_key_leave_one_whole_object(own_server: Supabase, bucket: str) -> None:
    bodies = [bytes([n]) * (2 * MIB + n) for n in range(12)]

    def put(body: bytes) -> None:
        with client_of(own_server) as rest:
            assert rest.post(f"/object/{bucket}/same", content=body).status_code == 200

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(put, bodies))
    with client_of(own_server) as rest:
        assert rest.get(f"/object/{bucket}/same").content in bodies
    wait_for(lambda: len(own_server.files()) == 1)


def test_readers_are_not_torn_by_writers(own_server: Supabase, bucket: str) -> None:
    bodies = {bytes([n]) * (3 * MIB) for n in range(3)}
    done = threading.Event()
    with client_of(own_server) as rest:
        rest.post(f"/object/{bucket}/same", content=next(iter(bodies)))

        def write() -> None:
            with client_of(own_server) as writer:
                while not done.is_set():
                    for body in bodies:
                        writer.post(f"/object/{bucket}/same", content=body)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(40):
                answer = rest.get(f"/object/{bucket}/same")
                assert answer.status_code == 200
                assert answer.content in bodies
        finally:
            done.set()
            thread.join()


def test_the_database_may_be_killed(
    own_server: Supabase, postgres: Postgres, bucket: str, supabase: Supabase
) -> None:
    with client_of(own_server) as rest:
        rest.post(f"/object/{bucket}/k", content=b"before")
        postgres.stop(signal.SIGKILL)
        answer = rest.get(f"/object/{bucket}/k")
        assert (answer.status_code, answer.json()["code"]) == (503, "DatabaseError")
        postgres.start()
        assert rest.get(f"/object/{bucket}/k").content == b"before"


def test_memory_does_not_know_the_body_s_size(own_server: Supabase, bucket: str) -> None:
    process, size, count = psutil.Process(own_server.pid), 128 * MIB, 4
    block = b"z" * MIB

    def put_and_get(number: int) -> str:
        digest = hashlib.md5()
        with client_of(own_server) as rest:
            headers = {"content-length": str(size)}
            blocks = (block for _ in range(size // MIB))
            rest.post(f"/object/{bucket}/{number}", content=blocks, headers=headers)
            with rest.stream("GET", f"/object/{bucket}/{number}") as answer:
                for piece in answer.iter_raw(MIB):
                    digest.update(piece)
        return digest.hexdigest()

    peak = 0
    with ThreadPoolExecutor(count) as threads:
        running: list[Any] = [threads.submit(put_and_get, n) for n in range(count)]
        while not all(future.done() for future in running):
            peak = max(peak, process.memory_info().rss)
    assert {future.result() for future in running} == {
        hashlib.md5(block * (size // MIB)).hexdigest()
    }
    assert peak < 150 * 10**6
