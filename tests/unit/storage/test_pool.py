from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from argosy.storage import pool
from argosy.storage.body import BytesBody
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore

from .conftest import TOKEN
from .scripted import ScriptedServer, stored


def test_threads_share_one_client() -> None:
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(pool.client())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    pool.close()
    assert pool.client() is not found[0]
    pool.close()


def test_a_fork_has_a_client_of_its_own(server: ScriptedServer, endpoint: Endpoint) -> None:
    store = ObjectStore(endpoint, lambda: TOKEN, retries=RetryPolicy(attempts=1))
    server.script(stored())
    store.upload_part("b", "k", "up", 1, BytesBody(b"parent"))
    mine = pool.client()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            store.upload_part("b", "k", "up", 2, BytesBody(b"child"))
            own = pool.client() is not mine and len(pool._clients) == 1
            status = 0 if own else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.upload_part("b", "k", "up", 3, BytesBody(b"parent again"))
    assert pool.client() is mine
    assert [request.query["partNumber"] for request in server.requests] == ["1", "2", "3"]
    pool.close()


def test_a_connection_is_used_again(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored())
    for number in range(1, 6):
        store.upload_part("b", "k", "up", number, BytesBody(b"x"))
    assert server.connections == 1


def test_threads_share_one_store(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored())
    bodies = {number: bytes([number]) * 300_000 for number in range(1, 17)}

    def send(number: int) -> str:
        return store.upload_part("b", "k", "up", number, BytesBody(bodies[number]))

    with ThreadPoolExecutor(8) as threads:
        etags = dict(zip(bodies, threads.map(send, bodies), strict=True))
    assert etags == {number: hashlib.md5(body).hexdigest() for number, body in bodies.items()}


def test_moving_bytes_needs_no_heavy_library() -> None:
    code = (
        "import sys, argosy.storage.s3, argosy.storage.control; "
        "print(*{'boto3', 'botocore.session', 'botocore.client', 'storage3', 'supabase'}"
        " & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
