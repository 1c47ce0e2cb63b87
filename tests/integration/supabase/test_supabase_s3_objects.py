from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from supabase_clients import Agent, make_agent, refused, s3_client
from supabase_servers import Supabase


def test_put_returns_the_md5_and_get_returns_the_bytes(s3: Any, bucket: str) -> None:
    body = b"cargo" * 1000
    put = s3.put_object(Bucket=bucket, Key="a/b.bin", Body=body, Metadata={"colour": "red"})
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="a/b.bin")
    assert got["Body"].read() == body
    assert got["Metadata"] == {"colour": "red"}


@pytest.mark.parametrize(
    ("range_", "expected"),
    [("bytes=0-3", b"0123"), ("bytes=5-", b"56789"), ("bytes=-2", b"89"), ("bytes=8-99", b"89")],
)
def test_ranges(s3: Any, bucket: str, range_: str, expected: bytes) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="digits", Range=range_)
    assert got["Body"].read() == expected
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_outside_of_the_object_is_416(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="digits", Body=b"0123456789")
    assert refused(s3.get_object, Bucket=bucket, Key="digits", Range="bytes=10-")[0] == 416


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    assert refused(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)[0] == 304
    s3.get_object(Bucket=bucket, Key="k", IfMatch='"something else"')  # not looked at
    s3.put_object(Bucket=bucket, Key="k", Body=b"y", IfNoneMatch="*")  # not looked at


def test_an_empty_object(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


@pytest.mark.parametrize("key", ["ümlaut", "a#b", "a%b", "a~b", "a[b", "a\\b", "a|b", "a<b", "a^b"])
def test_keys_with_other_letters_are_refused(s3: Any, bucket: str, key: str) -> None:
    assert refused(s3.put_object, Bucket=bucket, Key=key, Body=b"") == (400, "InvalidKey")


def test_every_allowed_letter(s3: Any, bucket: str) -> None:
    key = "aZ09_/!.*'() &$=@;:+,?-"
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"


def test_wrong_claims_about_the_body_are_accepted(s3: Any, bucket: str) -> None:
    wrong = "1B2M2Y8AsgTpgAmY7PhCfg=="  # the MD5 of nothing
    s3.put_object(Bucket=bucket, Key="k", Body=b"something", ContentMD5=wrong)


def test_what_is_not_there(s3: Any, bucket: str) -> None:
    assert refused(s3.get_object, Bucket=bucket, Key="no") == (404, "NoSuchKey")
    assert refused(s3.head_object, Bucket=bucket, Key="no")[0] == 404
    assert refused(s3.put_object, Bucket="no-bucket", Key="k", Body=b"") == (404, "NoSuchBucket")
    s3.delete_object(Bucket=bucket, Key="no")


def test_the_error_document_has_a_namespace(supabase: Supabase) -> None:
    answer = httpx.get(supabase.s3_url + "/bucket/key")
    assert answer.status_code == 403
    assert 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' in answer.text
    assert "<Code>AccessDenied</Code>" in answer.text


def test_copy_keeps_bytes_and_metadata(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"abc", Metadata={"m": "1"}, ContentType="text/x")
    s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    s3.delete_object(Bucket=bucket, Key="a")
    got = s3.get_object(Bucket=bucket, Key="b")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (
        b"abc",
        {"m": "1"},
        "text/x",
    )


def test_listing_pages_and_folders(s3: Any, bucket: str) -> None:
    for key in ("a/1", "a/2", "b", "c/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    names = [
        entry.get("Key") or entry.get("Prefix")
        for page in pages
        for entry in (*page.get("Contents", []), *page.get("CommonPrefixes", []))
    ]
    assert names == ["a/", "b", "c/"]


def test_bulk_delete(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"x")
    answer = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "never-there"}]}
    )
    assert {entry["Key"] for entry in answer["Deleted"]} == {"a", "never-there"}


def test_presigned_urls(s3: Any, bucket: str) -> None:
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "p"})
    assert httpx.put(put, content=b"signed").status_code == 200
    get = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "p"})
    assert httpx.get(get).content == b"signed"
    assert httpx.get(get.replace("/p?", "/q?")).status_code == 403


def test_a_region_of_another_name_is_refused(supabase: Supabase, bucket: str) -> None:
    client = s3_client(supabase, "static-key", "static-secret", region="eu-west-9")
    assert refused(client.list_objects_v2, Bucket=bucket) == (403, "SignatureDoesNotMatch")


def test_a_wrong_secret_is_refused(supabase: Supabase, bucket: str) -> None:
    client = s3_client(supabase, "static-key", "another-secret")
    assert refused(client.list_objects_v2, Bucket=bucket) == (403, "SignatureDoesNotMatch")


def test_a_presigned_form(s3: Any, bucket: str) -> None:
    form = s3.generate_presigned_post(
        bucket, "posted", Conditions=[["content-length-range", 0, 10]]
    )
    fields = {_as_documented(name): value for name, value in form["fields"].items()}
    files = {"file": ("name.txt", b"more than ten bytes: the server does not mind")}
    answer = httpx.post(form["url"], data=fields, files=files)
    assert answer.status_code == 200, answer.text
    assert s3.get_object(Bucket=bucket, Key="posted")["Body"].read() == files["file"][1]
    elsewhere = httpx.post(form["url"], data={**fields, "key": "other"}, files=files)
    assert (elsewhere.status_code, "AccessDenied" in elsewhere.text) == (403, True)


def test_a_presigned_form_in_lower_case_is_refused(s3: Any, bucket: str) -> None:
    form = s3.generate_presigned_post(bucket, "posted")
    answer = httpx.post(form["url"], data=form["fields"], files={"file": ("name.txt", b"x")})
    assert (answer.status_code, "InvalidSignature" in answer.text) == (400, True)


def _as_documented(name: str) -> str:
    """`X-Amz-Credential`, `Policy`: boto3 writes them in lower case, which is not understood."""
    signs = name == "policy" or name.startswith("x-amz-")
    return "-".join(word.capitalize() for word in name.split("-")) if signs else name


def test_row_level_security_decides(agent: Agent, s3: Any, bucket: str) -> None:
    own, other = f"{agent.id}/x", "someone-else/x"
    agent.s3.put_object(Bucket=bucket, Key=own, Body=b"mine")
    assert agent.s3.get_object(Bucket=bucket, Key=own)["Body"].read() == b"mine"
    assert refused(agent.s3.put_object, Bucket=bucket, Key=other, Body=b"") == (403, "AccessDenied")
    s3.put_object(Bucket=bucket, Key=other, Body=b"theirs")
    assert refused(agent.s3.get_object, Bucket=bucket, Key=other) == (404, "NoSuchKey")
    listed = agent.s3.list_objects_v2(Bucket=bucket)
    assert [entry["Key"] for entry in listed["Contents"]] == [own]
    bulk = agent.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": other}]})
    assert [entry["Code"] for entry in bulk["Errors"]] == ["AccessDenied"]


def test_an_upsert_needs_select_and_a_plain_insert_does_not(agent: Agent, bucket: str) -> None:
    with pytest.raises(ClientError):  # over S3 every write is an upsert
        agent.s3.put_object(Bucket=bucket, Key="drop/a", Body=b"x")
    assert agent.rest.post(f"/object/{bucket}/drop/a", content=b"x").status_code == 200


def test_an_expired_session_token_is_refused(supabase: Supabase, bucket: str) -> None:
    late = make_agent(supabase, seconds=-1)
    assert refused(late.s3.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
