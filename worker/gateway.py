"""The nginx configuration of the gateway in front of Supabase: deploy/gateway/, filled in."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from argosy.gateway_settings import GatewaySettings
from argosy.origins import parse

TEMPLATE = Path(__file__).resolve().parent.parent / "deploy" / "gateway" / "nginx.conf.template"

EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Length, Content-Range, ETag, "
    "Link, Location, Retry-After, X-Total-Count, "
    "Tus-Checksum-Algorithm, Tus-Complete, Tus-Extension, Tus-Max-Size, Tus-Resumable, "
    "Tus-Version, Upload-Concat, Upload-Defer-Length, Upload-Expires, Upload-Length, "
    "Upload-Metadata, Upload-Offset, "
    "x-amz-id-2, x-amz-meta-expires-at, x-amz-meta-md5, x-amz-meta-name, x-amz-meta-owner, "
    "x-amz-meta-sha256, x-amz-meta-transfer, x-amz-mp-parts-count, x-amz-request-id, "
    "x-amz-version-id"
)
"""What a page may read of an answer. With credentials `*` is not allowed, so each is named:
of the user metadata, what the fleet itself writes (tasks/describe.py)."""

_TLS = """
    proxy_ssl_server_name on;
    proxy_ssl_name "@{name}";
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 4;
    proxy_ssl_trusted_certificate "@{ca}";
"""


class _Template(Template):
    delimiter = "@"  # the dollar is nginx's


def render(settings: GatewaySettings) -> str:
    """The whole configuration."""
    upstream = parse(settings.upstream)
    return _Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        environment=_plain(settings.environment),
        listen=_plain(settings.listen),
        scheme=upstream.scheme,
        upstream=_plain(f"{upstream.host}:{upstream.port}"),
        origins=_lines(settings.allowed_origins),
        exposed=EXPOSED_HEADERS,
        tls=_tls(settings) if upstream.scheme == "https" else "",
    )


def _lines(origins: tuple[str, ...]) -> str:
    return "\n".join(f'        "{_plain(origin)}" "{_plain(origin)}";' for origin in origins)


def _tls(settings: GatewaySettings) -> str:
    name = parse(settings.upstream).host.strip("[]")
    return _Template(_TLS).substitute(name=_plain(name), ca=_plain(settings.upstream_ca))


def _plain(value: str) -> str:
    """The value, once more: the settings have checked it, and nothing else keeps nginx safe."""
    if not re.fullmatch(r"[A-Za-z0-9._:/\[\]+=,-]+", value):
        raise ValueError("a value that nginx would not take as plain text")
    return value
