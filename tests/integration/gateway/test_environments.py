"""The command, its three environments, and a Supabase behind TLS."""

from __future__ import annotations

import datetime
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.gateway.servers import ORIGIN, Gateway, running
from tests.unit.storage.scripted import ScriptedServer, answer

ARGOSY = Path(sys.executable).parent / "argosy"
UPSTREAM = "http://127.0.0.1:54321"
ENVIRONMENTS = {
    "development": ("", ["http://localhost:3000", "http://127.0.0.1:5173"]),
    "staging": (
        "https://staging.example.com,https://admin.staging.example.com:8443",
        ["https://staging.example.com", "https://admin.staging.example.com:8443"],
    ),
    "production": ("https://App.Example.com:443", ["https://app.example.com"]),
}
EVERYONE = {origin for _, allowed in ENVIRONMENTS.values() for origin in allowed}


def argosy_gateway(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    ours = {f"ARGOSY_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("ARGOSY_GATEWAY_")}
    command = [str(ARGOSY), "gateway", *arguments]
    return subprocess.run(
        command, env={**inherited, **ours}, capture_output=True, text=True, check=False
    )


def nginx_says(gateway: Gateway) -> str:
    """What `nginx -t` says of the configuration."""
    done = subprocess.run(
        [*gateway.command, "-t"], capture_output=True, text=True, check=False, cwd=gateway.folder
    )
    return done.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_has_its_own_origins(environment: str, upstream: ScriptedServer) -> None:
    upstream.script(answer())
    named, allowed = ENVIRONMENTS[environment]
    with running(upstream.url, environment=environment, origins=named) as gateway:
        let_in = {
            origin
            for origin in EVERYONE
            if httpx.get(f"{gateway.url}/auth/v1/x", headers={"origin": origin}).headers.get(
                "access-control-allow-origin"
            )
            == origin
        }
    assert let_in == set(allowed)


@pytest.mark.parametrize(
    ("environment", "upstream_url", "host"),
    [
        ("development", UPSTREAM, "127.0.0.1"),
        ("staging", "https://[::1]:8443", "[::]"),
        ("production", "https://localhost", "0.0.0.0"),
    ],
)
def test_nginx_takes_what_the_command_prints(
    tmp_path: Path, environment: str, upstream_url: str, host: str
) -> None:
    gateway = Gateway(tmp_path, UPSTREAM)
    gateway.folder.mkdir()
    configuration = gateway.folder / "nginx.conf"
    done = argosy_gateway(
        *("--output", str(configuration)),
        environment=environment,
        upstream=upstream_url,
        origins=ENVIRONMENTS[environment][0],
        listen=f"{host}:{gateway.port}",
        upstream_ca=str(_authority(tmp_path)),
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert f"for {environment}." in configuration.read_text()
    assert "test is successful" in nginx_says(gateway)


def test_nginx_takes_many_and_long_origins(tmp_path: Path) -> None:
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    origins = [f"https://{longest}:65535", *(f"https://n{n}.example.com" for n in range(1000))]
    gateway = Gateway(tmp_path, UPSTREAM, origins=",".join(origins))
    gateway.write_configuration()
    assert "test is successful" in nginx_says(gateway)


def test_the_file_is_what_is_printed(tmp_path: Path) -> None:
    output = tmp_path / "nginx.conf"
    printed = argosy_gateway(upstream=UPSTREAM, origins=ORIGIN)
    argosy_gateway("--output", str(output), upstream=UPSTREAM, origins=ORIGIN)
    assert printed.stdout == output.read_text()
    assert f'"{ORIGIN}" "{ORIGIN}";' in printed.stdout


def test_a_bad_setting_leaves_the_file_alone(tmp_path: Path) -> None:
    output = tmp_path / "nginx.conf"
    output.write_text("what worked yesterday")
    done = argosy_gateway("--output", str(output), upstream=UPSTREAM, origins="*")
    assert done.returncode == 2
    assert "ARGOSY_GATEWAY_ORIGINS" in done.stderr
    assert "Traceback" not in done.stderr
    assert output.read_text() == "what worked yesterday"


# TLS


@pytest.fixture
def secure_upstream(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A Supabase behind TLS, and who vouches for it."""
    authority = _authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority)
    server = HTTPServer(("127.0.0.1", 0), _Anything)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://localhost:{server.server_port}", authority
    server.shutdown()
    thread.join()
    server.server_close()


class _Anything(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"cargo")

    def log_message(self, *_: object) -> None:
        pass


def test_supabase_behind_tls_is_reached(secure_upstream: tuple[str, Path]) -> None:
    url, authority = secure_upstream
    with running(url, upstream_ca=str(authority)) as gateway:
        answered = httpx.get(f"{gateway.url}/storage/v1/object/b/k")
    assert (answered.status_code, answered.content) == (200, b"cargo")


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_another_server_behind_tls_is_not_believed(
    secure_upstream: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory, wrong: str
) -> None:
    url, authority = secure_upstream
    if wrong == "authority":
        authority = _authority(tmp_path_factory.mktemp("another"))
    else:
        url = url.replace("localhost", "127.0.0.1")
    with running(url, upstream_ca=str(authority)) as gateway:
        answered = httpx.get(f"{gateway.url}/storage/v1/object/b/k", headers={"origin": ORIGIN})
    assert answered.status_code == 502
    assert answered.headers["access-control-allow-origin"] == ORIGIN


def _authority(folder: Path) -> Path:
    """A certificate for localhost that vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "authority.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    return path
