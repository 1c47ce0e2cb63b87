from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from supabase_clients import Agent, announce_xml, refused
from supabase_servers import Postgres, Supabase

MIB = 1024 * 1024
BODIES = [bytes([n]) * size for n, size in enumerate((5 * MIB, 6 * MIB, 1000))]


def with_xml(client: Any) -> Any:
    """Let boto3 announce the body of Complete as what it is."""

    client.meta.events.register("before-call.s3.CompleteMultipartUpload", announce_xml)
    return client


def send_parts(s3: Any, bucket: str, key: str, bodies: list[bytes]) -> tuple[str, list[Any]]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"m": "1"})["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        assert part["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    return upload, parts


def complete(s3: Any, bucket: str, key: str, upload: str, parts: list[Any]) -> Any:
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )


def test_the_whole_life(s3: Any, bucket: str, rest: httpx.Client, supabase: Supabase) -> None:
    s3 = with_xml(s3)
    upload, parts = send_parts(s3, bucket, "big", BODIES)
    done = complete(s3, bucket, "big", upload, parts)
    digests = b"".join(hashlib.md5(body).digest() for body in BODIES)
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    whole = b"".join(BODIES)
    assert s3.get_object(Bucket=bucket, Key="big")["Body"].read() == whole
    across = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={5 * MIB - 2}-{11 * MIB + 1}")
    assert across["Body"].read() == whole[5 * MIB - 2 : 11 * MIB + 2]
    assert rest.get(f"/object/info/{bucket}/big").json()["metadata"] == {"m": "1"}
    assert not list((supabase.data / "uploads").glob(f"{upload}*/*"))


def test_complete_and_abort_are_not_idempotent(s3: Any, bucket: str) -> None:
    s3 = with_xml(s3)
    upload, parts = send_parts(s3, bucket, "k", [b"x"])
    complete(s3, bucket, "k", upload, parts)
    for call in (s3.complete_multipart_upload, s3.abort_multipart_upload):
        assert refused(call, Bucket=bucket, Key="k", UploadId=upload) == (404, "NoSuchUpload")


def test_complete_checks_an_announced_list(s3: Any, bucket: str) -> None:
    s3 = with_xml(s3)
    upload, parts = send_parts(s3, bucket, "k", BODIES)
    wrong = [{**parts[0], "ETag": '"00000000000000000000000000000000"'}]
    missing = [*parts, {"PartNumber": 9, "ETag": parts[0]["ETag"]}]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    for bad in (wrong, missing, parts[::-1]):
        given = {**where, "MultipartUpload": {"Parts": bad}}
        assert refused(s3.complete_multipart_upload, **given) == (400, "S3Error")
    complete(s3, bucket, "k", upload, parts)


def test_complete_ignores_a_list_without_its_content_type(s3: Any, bucket: str) -> None:
    upload, parts = send_parts(s3, bucket, "k", BODIES)
    complete(s3, bucket, "k", upload, [{**parts[0], "ETag": '"nonsense"'}])
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == sum(map(len, BODIES))


def test_small_parts_are_refused_at_complete(s3: Any, bucket: str) -> None:
    upload, _ = send_parts(s3, bucket, "k", [b"small", b"last"])
    given = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    assert refused(s3.complete_multipart_upload, **given) == (400, "S3Error")


def test_a_part_sent_again_replaces_but_counts_twice(
    s3: Any, bucket: str, rest: httpx.Client
) -> None:
    rest.put(f"/bucket/{bucket}", json={"file_size_limit": 12 * MIB})
    upload, _ = send_parts(s3, bucket, "k", [b"a" * 5 * MIB])
    part = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 1}
    s3.upload_part(**part, Body=b"b" * 5 * MIB)
    assert refused(s3.upload_part, **part, Body=b"c" * 5 * MIB) == (413, "EntityTooLarge")
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    assert [entry["PartNumber"] for entry in listed] == [1, 1]
    assert "Size" not in listed[0]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"b" * 5 * MIB


def test_a_pending_upload_blocks_its_bucket(s3: Any, bucket: str) -> None:
    upload, _ = send_parts(s3, bucket, "k", [b"x"])
    assert refused(s3.delete_bucket, Bucket=bucket)[0] == 409
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    s3.delete_bucket(Bucket=bucket)


def test_abort_removes_the_parts(s3: Any, bucket: str, supabase: Supabase) -> None:
    upload, _ = send_parts(s3, bucket, "k", [b"x"])
    assert (supabase.data / "uploads" / upload).is_dir()
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert not (supabase.data / "uploads" / upload).exists()


def test_part_copy(s3: Any, bucket: str) -> None:
    upload, parts = send_parts(s3, bucket, "big", BODIES)
    complete(s3, bucket, "big", upload, parts)
    second = s3.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"]
    copied = s3.upload_part_copy(
        Bucket=bucket,
        Key="copy",
        UploadId=second,
        PartNumber=1,
        CopySource=f"{bucket}/big",
        CopySourceRange=f"bytes={5 * MIB - 1}-{5 * MIB}",
    )["CopyPartResult"]
    assert copied["ETag"] == f'"{hashlib.md5(bytes([0, 1])).hexdigest()}"'


def test_two_completes_at_once_make_one_object(s3: Any, bucket: str, supabase: Supabase) -> None:
    upload, parts = send_parts(s3, bucket, "k", BODIES)

    def try_complete(_: int) -> bool:
        try:
            complete(s3, bucket, "k", upload, parts)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            assert code in (
                "NoSuchUpload",
                "S3Error",
            )  # before Storage's look at its rows, or after
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(try_complete, range(4))) == 1
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(BODIES)
    assert not list((supabase.data / "tmp").iterdir())


def test_policies_hold_at_every_step(
    agent: Agent, s3: Any, bucket: str, postgres: Postgres
) -> None:
    key = f"{agent.id}/big"
    upload, parts = send_parts(agent.s3, bucket, key, BODIES)
    assert "Parts" not in agent.s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in agent.s3.list_multipart_uploads(Bucket=bucket)
    complete(agent.s3, bucket, key, upload, parts)
    owner = postgres.execute("SELECT owner_id FROM storage.objects WHERE name = %s", key)
    assert owner == [(agent.id,)]

    other = s3.create_multipart_upload(Bucket=bucket, Key="other/k")["UploadId"]
    where = {"Bucket": bucket, "Key": "other/k", "UploadId": other}
    denied = (403, "AccessDenied")
    assert refused(agent.s3.create_multipart_upload, Bucket=bucket, Key="other/k") == denied
    assert refused(agent.s3.upload_part, **where, PartNumber=1, Body=b"x") == denied
    assert refused(agent.s3.complete_multipart_upload, **where) == denied
    assert refused(agent.s3.abort_multipart_upload, **where) == denied


@pytest.mark.parametrize("size", [10, 3 * MIB])
def test_unsigned_payloads_stream(supabase: Supabase, bucket: str, size: int) -> None:
    """What the data plane sends: httpx, botocore's signer, UNSIGNED-PAYLOAD."""
    url = f"{supabase.s3_url}/{bucket}/a%20b"
    request = AWSRequest("PUT", url, {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    credentials = Credentials("static-key", "static-secret")
    S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
    headers = {**dict(request.headers), "content-length": str(size)}
    answer = httpx.put(url, headers=headers, content=iter([b"x" * size]))
    assert answer.headers["etag"] == f'"{hashlib.md5(b"x" * size).hexdigest()}"'
