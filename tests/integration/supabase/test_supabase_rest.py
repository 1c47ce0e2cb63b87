from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from supabase import create_client
from supabase_clients import Agent
from supabase_servers import Postgres, Supabase


def put(rest: httpx.Client, bucket: str, key: str, body: bytes = b"x", **headers: str) -> Any:
    return rest.post(f"/object/{bucket}/{key}", content=body, headers=headers)


def check_error(answer: httpx.Response, status: str, code: str) -> None:
    assert answer.status_code == 400
    assert (answer.json()["statusCode"], answer.json()["code"]) == (status, code)


def test_upload_read_info_delete(rest: httpx.Client, bucket: str) -> None:
    said = base64.b64encode(json.dumps({"sha256": "…"}).encode()).decode()
    headers = {"content-type": "text/plain", "x-metadata": said}
    answer = rest.post(f"/object/{bucket}/a/b.txt", content=b"hello", headers=headers)
    assert answer.json()["Key"] == f"{bucket}/a/b.txt"
    got = rest.get(f"/object/{bucket}/a/b.txt", headers={"range": "bytes=1-3"})
    assert (got.status_code, got.content) == (206, b"ell")
    info = rest.get(f"/object/info/{bucket}/a/b.txt").json()
    assert (info["size"], info["metadata"]) == (5, {"sha256": "…"})
    assert rest.head(f"/object/{bucket}/a/b.txt").headers["content-length"] == "5"
    rest.delete(f"/object/{bucket}/a/b.txt")
    check_error(rest.get(f"/object/{bucket}/a/b.txt"), "404", "NoSuchKey")


def test_refusals_are_400_with_the_true_status_inside(rest: httpx.Client, bucket: str) -> None:
    put(rest, bucket, "k")
    check_error(put(rest, bucket, "k"), "409", "KeyAlreadyExists")
    check_error(put(rest, "no-bucket", "k"), "404", "NoSuchBucket")
    check_error(put(rest, bucket, "a~b"), "400", "InvalidKey")
    rest.put(f"/bucket/{bucket}", json={"file_size_limit": 3, "allowed_mime_types": ["text/*"]})
    check_error(
        put(rest, bucket, "k2", b"xxxx", **{"content-type": "text/x"}), "413", "EntityTooLarge"
    )
    check_error(
        put(rest, bucket, "k2", b"x", **{"content-type": "image/x"}), "415", "InvalidMimeType"
    )


def test_a_chunked_body_escapes_the_limit(rest: httpx.Client, bucket: str) -> None:
    rest.put(f"/bucket/{bucket}", json={"file_size_limit": 3})
    answer = rest.post(f"/object/{bucket}/k", content=iter([b"more than three"]))
    assert answer.status_code == 200


def test_policies(agent: Agent, rest: httpx.Client, bucket: str) -> None:
    put(rest, bucket, "other/k")
    check_error(put(agent.rest, bucket, "other/new"), "403", "AccessDenied")
    check_error(agent.rest.get(f"/object/{bucket}/other/k"), "404", "NoSuchKey")
    assert put(agent.rest, bucket, f"{agent.id}/k").status_code == 200
    removed = agent.rest.request(
        "DELETE", f"/object/{bucket}", json={"prefixes": ["other/k", f"{agent.id}/k"]}
    )
    assert [row["name"] for row in removed.json()] == [f"{agent.id}/k"]
    assert rest.get(f"/object/{bucket}/other/k").status_code == 200


def test_list_v2_pages(rest: httpx.Client, bucket: str) -> None:
    for key in ("a/1", "a/2", "b", "c"):
        put(rest, bucket, key)
    url, names, cursor = f"/object/list-v2/{bucket}", [], None
    while True:
        body = {"limit": 1, "with_delimiter": True, **({"cursor": cursor} if cursor else {})}
        page = rest.post(url, json=body).json()
        names += [entry["name"] for entry in (*page["folders"], *page["objects"])]
        cursor = page.get("nextCursor")
        if not page["hasNext"]:
            break
    assert names == ["a/", "b", "c"]


def test_sql_may_not_delete_objects(rest: httpx.Client, bucket: str, postgres: Postgres) -> None:
    put(rest, bucket, "k")
    with pytest.raises(Exception, match="Direct deletion from storage tables is not allowed"):
        postgres.execute("DELETE FROM storage.objects WHERE bucket_id = %s", bucket)


def test_the_supabase_client(supabase: Supabase, rest: httpx.Client, bucket: str) -> None:
    files = create_client(supabase.url, supabase.service_key).storage.from_(bucket)
    files.upload("a/b.txt", b"hello", {"content-type": "text/plain", "metadata": {"x": "y"}})
    assert files.download("a/b.txt") == b"hello"
    assert files.info("a/b.txt")["metadata"] == {"x": "y"}
    assert [entry["name"] for entry in files.list("a")] == ["b.txt"]
    signed = files.create_signed_url("a/b.txt", 60)["signedURL"]
    got = httpx.get(signed, headers={"range": "bytes=0-0"})
    assert (got.status_code, got.content) == (206, b"h")
    ticket = files.create_signed_upload_url("c.txt")
    files.upload_to_signed_url("c.txt", ticket["token"], b"signed")
    files.copy("a/b.txt", "d.txt")
    files.move("d.txt", "e.txt")
    assert {row["name"] for row in files.remove(["a/b.txt", "c.txt", "e.txt"])} == {
        "a/b.txt",
        "c.txt",
        "e.txt",
    }


def test_bad_tokens(supabase: Supabase, bucket: str) -> None:
    url = f"{supabase.url}/storage/v1/bucket"
    bad = httpx.get(url, headers={"authorization": "Bearer nonsense"})
    check_error(bad, "403", "AccessDenied")
    assert "authorization" in httpx.get(url).json()["message"]
