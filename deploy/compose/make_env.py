"""Make .env of .env.example, with fresh keys: `make env`.

A value that .env has already is never changed; what it lacks is added. Nothing but the standard
library is used, so that a machine with Docker needs no more than Python.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEN_YEARS = 10 * 365 * 24 * 3600
KEYS = {"SUPABASE_ANON_KEY": "anon", "SUPABASE_SERVICE_ROLE_KEY": "service_role"}
"""Keys of the project, and the database role that each speaks for."""
LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def fill(example: str, kept: dict[str, str], now: int) -> str:
    """The example with the kept values, and fresh ones for the secrets that are empty.

    `now` is when the keys are issued, in seconds since 1970.
    """
    values = {name: kept.get(name, value) for name, value in LINE.findall(example)}
    for name, value in values.items():
        if not value and name not in kept and name not in KEYS:
            values[name] = secrets.token_hex(32)  # letters and digits: it stands in URLs
    for name, role in KEYS.items():
        if not values[name]:
            values[name] = project_key(values["SUPABASE_JWT_SECRET"], role, now)
    own = "".join(f"{name}={value}\n" for name, value in kept.items() if name not in values)
    return LINE.sub(lambda found: f"{found[1]}={values[found[1]]}", example) + own


def project_key(secret: str, role: str, now: int) -> str:
    """A JSON Web Token (HS256) that says it is `role`, for ten years."""
    claims = {"iss": "supabase", "role": role, "iat": now, "exp": now + TEN_YEARS}
    signed = f"{_coded({'alg': 'HS256', 'typ': 'JWT'})}.{_coded(claims)}"
    mark = hmac.digest(secret.encode(), signed.encode(), hashlib.sha256)
    return f"{signed}.{_base64(mark)}"


def _coded(part: dict[str, object]) -> str:
    return _base64(json.dumps(part, separators=(",", ":")).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def main(folder: Path) -> None:
    """Make or complete the .env of this folder, and say what was done."""
    env = folder / ".env"
    before = dict(LINE.findall(env.read_text())) if env.exists() else {}
    made = fill((folder / ".env.example").read_text(), before, int(time.time()))
    write_private(env, made)
    added = [name for name, _ in LINE.findall(made) if name not in before]
    if not before:
        print(f"{env.name}: fresh keys. Keep it: the data of the volumes answers to no others.")
    else:
        print(f"{env.name}: {', '.join(added) or 'nothing'} added, nothing changed.")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
