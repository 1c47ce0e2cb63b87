"""A Celery producer without Argosy's library: it knows the name of a task, and a token.

plain_celery_producer.py /spool/FILE      prints the uploaded file's reference
"""

from __future__ import annotations

import json
import os
import sys

import httpx
from celery import Celery


def sign_in() -> str:
    """The agent's access token, from Supabase Auth."""
    answer = httpx.post(
        f"{os.environ['SUPABASE_URL']}/auth/v1/token?grant_type=password",
        headers={"apikey": os.environ["SUPABASE_ANON_KEY"]},
        json={
            "email": f"{os.environ['ARGOSY_AGENT']}@agents.argosy.invalid",
            "password": os.environ["ARGOSY_AGENT_KEY"],
        },
    )
    return str(answer.raise_for_status().json()["access_token"])


def upload(path: str) -> dict[str, object]:
    """Have the fleet upload a file of the spool, and wait for its reference."""
    app = Celery(broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
    app.conf.broker_transport_options = {"confirm_publish": True}
    result = app.send_task(
        "transfer.upload",
        [path],
        exchange="argosy.requests",
        routing_key="argosy.requests",
        declare=[],  # the fleet has declared it
        headers={"argosy_token": sign_in()},
    )
    reference: dict[str, object] = result.get(timeout=60)
    return reference


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(json.dumps(upload(sys.argv[1])))
