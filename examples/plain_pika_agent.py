"""An agent without Argosy's library: pika, the published JSON Schema, and Storage over REST.

plain_pika_agent.py FOLDER      puts the files of one message into FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jsonschema
import pika

SCHEMA = Path(__file__).parent.parent / "docs" / "message.schema.json"
URL, NAME, BROKER = (os.environ[n] for n in ("SUPABASE_URL", "ARGOSY_AGENT", "BROKER_URL"))
message_schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
supabase = httpx.Client(base_url=URL, headers={"apikey": os.environ["SUPABASE_ANON_KEY"]})


def sign_in() -> str:
    who = {"email": f"{NAME}@agents.argosy.invalid", "password": os.environ["ARGOSY_AGENT_KEY"]}
    answer = supabase.post("/auth/v1/token", params={"grant_type": "password"}, json=who)
    return str(answer.raise_for_status().json()["access_token"])


def fetch(file: dict[str, Any], token: str) -> bytes:
    where = f"/storage/v1/object/authenticated/{file['bucket']}/{file['path']}"
    answer = supabase.get(where, headers={"Authorization": f"Bearer {token}"})
    assert sha256(answer.raise_for_status().content).hexdigest() == file["sha256"]
    return answer.content


def unpin(channel: Any, message: str, token: str) -> None:
    """The fleet's task `transfer.unpin`, as Celery's protocol 2 has it: the files may go now."""
    headers = {"lang": "py", "task": "transfer.unpin", "id": str(uuid4()), "argosy_token": token}
    properties = pika.BasicProperties("application/json", "utf-8", headers, delivery_mode=2)
    body = json.dumps([[message], {}, {"callbacks": None, "errbacks": None, "chain": None}])
    channel.basic_publish("argosy.requests", "argosy.control", body.encode(), properties)


with pika.BlockingConnection(pika.URLParameters(BROKER)) as connection:
    channel = connection.channel()
    method, properties, body = next(channel.consume(f"messages.{NAME}"))
    message = json.loads(body)
    message_schema.validate(message)
    token = sign_in()
    for file in message["attachments"]:
        (Path(sys.argv[1]) / file["path"].rpartition("/")[2]).write_bytes(fetch(file, token))
    channel.basic_ack(method.delivery_tag)
    unpin(channel, message["id"], token)
    print(properties.user_id, json.dumps(message.get("body")), len(message["attachments"]))
