"""Clients of the server under test."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import boto3
import httpx
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from supabase_servers import SECRET, Supabase


def s3_client(
    server: Supabase, key: str, secret: str, token: str | None = None, region: str = "us-east-1"
) -> Any:
    client = boto3.client(
        "s3",
        endpoint_url=server.s3_url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region,
        config=Config(
            signature_version="s3v4",
            retries={"max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
        ),
    )
    client.meta.events.register("before-parse.s3", _read_errors)
    client.meta.events.register("before-call.s3.DeleteObjects", announce_xml)
    return client


@dataclass
class Agent:
    """A user of the project with a token."""

    id: str
    token: str
    s3: Any
    rest: httpx.Client


def make_agent(server: Supabase, seconds: int = 600) -> Agent:
    agent_id = str(uuid4())
    claims = {"sub": agent_id, "role": "authenticated", "exp": int(time.time()) + seconds}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    rest = httpx.Client(
        base_url=server.url + "/storage/v1", headers={"authorization": f"Bearer {token}"}
    )
    return Agent(agent_id, token, s3_client(server, "local", server.anon_key, token), rest)


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    """Make a call that must fail; return the HTTP status and the error's code."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def _read_errors(response_dict: dict[str, Any], **_: Any) -> None:
    # The error document has a namespace, as the real server's; boto3 reads it only without one.
    namespace = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    if response_dict["status_code"] >= 400:
        response_dict["body"] = response_dict["body"].replace(namespace, b"")


def announce_xml(params: dict[str, Any], **_: Any) -> None:
    """Say that the body is XML: without it the server ignores the body; boto3 does not say so."""
    params["headers"]["Content-Type"] = "application/xml"
