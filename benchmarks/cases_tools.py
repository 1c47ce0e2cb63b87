"""What people would use instead, against the same server: rclone, s5cmd, the AWS CLI.

They come with static S3 keys, which spares them row-level security.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.deployment import BUCKET, Deployment
from benchmarks.measure import Sample, Series
from benchmarks.processes import TOOL

_log = logging.getLogger(__name__)

CURL = "curl"
_AWS_CONFIG = """[default]
region = us-east-1
s3 =
    addressing_style = path
    multipart_threshold = 64MB
    multipart_chunksize = 64MB
    max_concurrent_requests = 4
"""
_MOST_TRIES = "1"


@dataclass(frozen=True)
class Tool:
    """A program that copies between a file and an object, either way."""

    name: str
    copy: Callable[[str, str], list[str]]
    """The arguments to copy from here to there."""
    remote: str
    """How a bucket is written."""


def tools(endpoint: str) -> list[Tool]:
    """All that we know, with 4 parts of 64 MiB at once: each did best so on a real server."""
    at = ["--endpoint-url", endpoint]
    return [
        Tool("rclone", lambda a, b: ["copyto", a, b], f":s3:{BUCKET}"),
        Tool(
            "s5cmd",
            lambda a, b: [*at, "cp", "--concurrency", "4", "--part-size", "64", a, b],
            f"s3://{BUCKET}",
        ),
        Tool(
            "aws",
            lambda a, b: [*at, "s3", "cp", "--only-show-errors", "--no-progress", a, b],
            f"s3://{BUCKET}",
        ),
    ]


class Comparison:
    """The tools that this machine has; `remarks` names the others and those that fail."""

    def __init__(self, deployment: Deployment, folder: Path) -> None:
        self._deployment = deployment
        self._folder = folder
        self._environment = environment(deployment, folder)
        known = tools(deployment.s3_url)
        self.present = [tool for tool in known if shutil.which(tool.name)]
        absent = [tool.name for tool in known if tool not in self.present]
        absent += [name for name in (CURL,) if not shutil.which(name)]
        self.remarks = [f"{name} is not installed: skipped" for name in absent]
        self._failed: set[str] = set()

    def attempt(self, name: str, samples: Iterator[Sample]) -> Iterator[Sample]:
        """What a tool or library brings; one that fails is not measured again.

        Ours are what must work.
        """
        if name in self._failed:
            return
        try:
            yield from samples
        except BenchmarkFailed as error:
            self._failed.add(name)
            self.remarks.append(f"{name} failed and is not measured to the end")
            _log.warning("%s", error)  # may name paths, so it is not for the report

    def round_trip(self, tool: Tool, group: str, cargo: Cargo) -> Iterator[Sample]:
        """There and back by one of them."""
        key = f"{self._deployment.agent_id}/{tool.name}"
        there, back = f"{tool.remote}/{key}", self._folder / f"{tool.name}.back"
        ways = (("upload", str(cargo.path), there), ("download", there, str(back)))
        try:
            for action, source, target in ways:
                series = Series(group, tool.name, action, cargo.size, TOOL)
                command = [tool.name, *tool.copy(source, target)]
                yield self._deployment.tool(series, partial(self.run, command))
            cargo.must_equal(back)
        finally:
            back.unlink(missing_ok=True)
            self._deployment.remove(key)

    def run(self, command: Sequence[str]) -> int | None:
        """Run one of them with the keys; returns the most memory that it took."""
        return self._deployment.run(command, environment=self._environment)


def environment(deployment: Deployment, folder: Path) -> Mapping[str, str]:
    """Settings and keys of the tools; what the user has set up for them is not read."""
    aws_config = folder / "aws-config"
    aws_config.write_text(_AWS_CONFIG)
    keys = deployment.s3_keys
    rclone = {
        "CONFIG": os.devnull,
        "RETRIES": _MOST_TRIES,
        "MULTI_THREAD_STREAMS": "4",
        "S3_PROVIDER": "Other",
        "S3_ENDPOINT": deployment.s3_url,
        "S3_REGION": "us-east-1",
        "S3_ACCESS_KEY_ID": keys.access,
        "S3_SECRET_ACCESS_KEY": keys.secret,
        "S3_CHUNK_SIZE": "64Mi",
        "S3_UPLOAD_CONCURRENCY": "4",
        "S3_NO_CHECK_BUCKET": "true",
    }
    aws = {
        "ACCESS_KEY_ID": keys.access,
        "SECRET_ACCESS_KEY": keys.secret,
        "REGION": "us-east-1",
        "CONFIG_FILE": str(aws_config),
        "SHARED_CREDENTIALS_FILE": os.devnull,
        "EC2_METADATA_DISABLED": "true",
    }
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **plain,
        **{f"RCLONE_{name}": value for name, value in rclone.items()},
        **{f"AWS_{name}": value for name, value in aws.items()},
    }
