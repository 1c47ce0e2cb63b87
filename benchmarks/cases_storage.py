"""The storage server alone: one PUT and one GET, by curl and by our own object store."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from argosy.storage.body import FileRange
from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.curl import Curl
from benchmarks.deployment import BUCKET, CLIENT, Deployment
from benchmarks.measure import Block, Case, Cpu, Sample, Series, timed
from benchmarks.processes import TOOL

GROUP = "storage server alone"


def block(deployment: Deployment, cargo: Cargo, cpu: Cpu) -> Block:
    """What the server can do when nobody else is working."""
    cases: list[Case] = [lambda: _object_store(deployment, cargo, cpu)]
    if shutil.which("curl"):
        cases.append(lambda: _curl(deployment, cargo, cpu))
    return Block(GROUP, nullcontext, cases)


def _object_store(deployment: Deployment, cargo: Cargo, cpu: Cpu) -> Iterator[Sample]:
    store, key = deployment.store(), f"{deployment.agent_id}/object-store"

    def put() -> None:
        fd = os.open(cargo.path, os.O_RDONLY)
        try:
            body = FileRange(fd, 0, cargo.size)
            store.put(BUCKET, key, body, content_type="text/plain", metadata={}, md5=cargo.md5)
        finally:
            os.close(fd)

    def get() -> None:
        received = sum(map(len, store.get(BUCKET, key)))
        if received != cargo.size:
            raise BenchmarkFailed(f"a GET brought {received} of {cargo.size} bytes")

    for action, work in (("PUT", put), ("GET", get)):
        series = Series(GROUP, "ObjectStore (S3)", action, cargo.size, CLIENT)
        yield timed(series, work, cpu)[0]
    deployment.remove(key)


def _curl(deployment: Deployment, cargo: Cargo, cpu: Cpu) -> Iterator[Sample]:
    key, curl = f"{deployment.agent_id}/curl", Curl(deployment)
    ways = {
        "PUT": lambda: curl.upload(cargo.path, key),
        "GET": lambda: curl.download(key, Path(os.devnull)),
    }
    for action, work in ways.items():
        series = Series(GROUP, "curl (REST)", action, cargo.size, TOOL)
        yield timed(series, work, cpu)[0]
    deployment.remove(key)
