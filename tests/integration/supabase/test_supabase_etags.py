"""The server above an S3 of its own: it sends a large body on in parts, and the ETag shows it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from supabase_clients import s3_client
from supabase_servers import Postgres, Supabase

MIB = 1024 * 1024
PART = 16 * MIB


@pytest.fixture(scope="module")
def above_s3(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supabase]:
    folder = tmp_path_factory.mktemp("above-s3") / "data"
    server = Supabase(postgres.url, folder, STORAGE_S3_UPLOAD_PART_SIZE=str(PART))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def its_s3(above_s3: Supabase) -> Any:
    return s3_client(above_s3, "static-key", "static-secret")


@pytest.fixture
def its_bucket(its_s3: Any) -> str:
    name = f"bucket-{uuid4().hex[:12]}"
    its_s3.create_bucket(Bucket=name)
    return name


def etag_in_parts(body: bytes) -> str:
    parts = [body[start : start + PART] for start in range(0, len(body), PART)]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


@pytest.mark.parametrize("size", [PART + 1, 2 * PART, 2 * PART + 5])
def test_a_large_body_has_the_etag_of_parts(its_s3: Any, its_bucket: str, size: int) -> None:
    body = bytes([size % 251]) * size
    wanted = etag_in_parts(body)
    assert its_s3.put_object(Bucket=its_bucket, Key="k", Body=body)["ETag"] == wanted
    assert its_s3.head_object(Bucket=its_bucket, Key="k")["ETag"] == wanted
    assert its_s3.get_object(Bucket=its_bucket, Key="k")["Body"].read() == body


@pytest.mark.parametrize("size", [0, 1, PART])
def test_a_body_of_one_part_has_its_md5(its_s3: Any, its_bucket: str, size: int) -> None:
    body = b"x" * size
    etag = its_s3.put_object(Bucket=its_bucket, Key="k", Body=body)["ETag"]
    assert etag == f'"{hashlib.md5(body).hexdigest()}"'


def test_rest_sends_it_on_in_parts_too(above_s3: Supabase, its_s3: Any, its_bucket: str) -> None:
    body = b"y" * (PART + 7)
    headers = {"authorization": f"Bearer {above_s3.service_key}"}
    url = f"{above_s3.url}/storage/v1/object/{its_bucket}/k"
    assert httpx.post(url, content=body, headers=headers, timeout=60).status_code == 200
    assert its_s3.head_object(Bucket=its_bucket, Key="k")["ETag"] == etag_in_parts(body)


def test_a_part_has_its_md5_whatever_its_size(its_s3: Any, its_bucket: str) -> None:
    upload = its_s3.create_multipart_upload(Bucket=its_bucket, Key="k")["UploadId"]
    body = b"z" * (PART + 9)
    part = {"Bucket": its_bucket, "Key": "k", "UploadId": upload, "PartNumber": 1}
    assert its_s3.upload_part(**part, Body=body)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    its_s3.complete_multipart_upload(Bucket=its_bucket, Key="k", UploadId=upload)
    once = hashlib.md5(hashlib.md5(body).digest()).hexdigest()
    assert its_s3.head_object(Bucket=its_bucket, Key="k")["ETag"] == f'"{once}-1"'
