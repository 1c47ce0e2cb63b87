"""Web origins: a scheme, a host and a port, as browsers write them (RFC 6454).

What is parsed here ends up in the configuration of a server, so the alphabet is closed:
no quote, space, semicolon, brace, dollar or line break gets through.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

USUAL_PORTS = {"http": 80, "https": 443}
FORM = "https://app.example.com or https://app.example.com:8443, with nothing after it"

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_ADDRESS = re.compile(r"(?P<host>[0-9.]+|\[[0-9a-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


@dataclass(frozen=True)
class Origin:
    """`host` is as in a URL: an IPv6 address stands in brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """As a browser writes it: the usual port is left out."""
        usual = self.port == USUAL_PORTS[self.scheme]
        return f"{self.scheme}://{self.host}" + ("" if usual else f":{self.port}")

    @property
    def is_this_machine(self) -> bool:
        """Whether every machine reaches itself by this name."""
        try:
            address = ipaddress.ip_address(self.host.strip("[]"))
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")
        return address.is_loopback or address.is_unspecified


def read_list(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Origins as browsers write them, each once; a mistake is told by its place in the list."""
    return tuple(dict.fromkeys(_named(place, text) for place, text in enumerate(texts, start=1)))


def check_public(origins: tuple[str, ...]) -> None:
    """Raise ValueError unless all are `https` and none is the browser's own machine."""
    for place, origin in enumerate(map(parse, origins), start=1):
        if origin.scheme != "https":
            raise ValueError(f"origin {place} is not https: only development takes http")
        if origin.is_this_machine:
            raise ValueError(f"origin {place} is this machine: only development takes that")


def read_server(text: str) -> str:
    """The URL of a server, which has the form of an origin."""
    try:
        return str(parse(text.removesuffix("/")))
    except ValueError as error:
        raise ValueError(f"the URL {error}") from None


def read_address(text: str) -> str:
    """An IP address and a port to listen on: a name could mean another machine tomorrow."""
    found = _ADDRESS.fullmatch(text)
    try:
        if found:
            return f"{_address(found['host'])}:{_port(found['port'])}"
    except ipaddress.AddressValueError:
        pass
    raise ValueError("must be ADDRESS:PORT, like 0.0.0.0:8000 or [::]:8000")


def parse(text: str) -> Origin:
    """Read an origin; raises ValueError, which does not repeat the text."""
    if not text.isascii():
        raise ValueError("is not ASCII: an international name is written as xn--...")
    found = _ORIGIN.fullmatch(text.lower())
    if not found:
        raise ValueError(f"must look like {FORM}")
    scheme = found["scheme"]
    port = _port(found["port"]) if found["port"] else USUAL_PORTS[scheme]
    return Origin(scheme, _host(found["host"]), port)


def _named(place: int, text: str) -> str:
    if "*" in text:
        raise ValueError(f"origin {place} has a *, which lets in every page: name each origin")
    if text.lower() == "null":
        raise ValueError(f"origin {place} is null, which any page can be: name the real origin")
    try:
        return str(parse(text))
    except ValueError as error:
        raise ValueError(f"origin {place} {error}") from None


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65_535:
        raise ValueError("has a port that does not exist: ports are 1 to 65535")
    return int(text)


def _host(host: str) -> str:
    labels = host.split(".")
    # Browsers take a number at the end for an address, and write it in full.
    if host.startswith("[") or labels[-1].isdigit():
        try:
            return _address(host)
        except ipaddress.AddressValueError:
            raise ValueError("has an address that does not exist") from None
    if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("has a host name that does not exist")
    return host


def _address(host: str) -> str:
    """An IP address as in a URL."""
    if host.startswith("["):
        return f"[{ipaddress.IPv6Address(host[1:-1]).compressed}]"
    return str(ipaddress.IPv4Address(host))
