"""One trace of a transfer, from its agent's publish through every chunk to its completion."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from argosy.trace_context import valid_trace
from tests.conftest import Sender
from tests.deployment import Deployment, remote, until

pytestmark = pytest.mark.skipif(remote(), reason="workers send their traces to this machine")

PART = 5 * 1024 * 1024
CHUNKS = 4


@dataclass(frozen=True)
class Span:
    """What a span tells."""

    trace: str
    parent: str
    name: str
    chunk: int | None


class Receiver:
    """Takes traces by OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        taken = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                taken.extend(_spans(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                facts = {one.key: one.value for one in span.attributes}
                number = facts["argosy.chunk"].int_value if "argosy.chunk" in facts else None
                yield Span(span.trace_id.hex(), span.parent_span_id.hex(), span.name, number)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {
        "ARGOSY_TRACES_URL": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "ARGOSY_CHUNK_THRESHOLD": str(PART),
        "ARGOSY_PART_SIZE": str(PART),
    }
    made = Deployment(tmp_path_factory.mktemp("traced"), settings)
    try:
        made.start()
        for name in ("one", "two"):
            made.start_worker(name)
        made.start_beat()
        yield made
    finally:
        made.stop()


def _upload(deployment: Deployment, name: str) -> str:
    deployment.app.set_current()
    sender = Sender(deployment.add_agent())
    result = sender.upload(deployment.make_file(name, CHUNKS * PART))
    result.get(timeout=90)
    return str(result.id)


def _complete(receiver: Receiver, trace_id: str) -> list[Span]:
    """Its spans, once they are all there."""

    def found() -> list[Span] | None:
        spans = [span for span in receiver.spans if span.trace == trace_id]
        names = {span.name for span in spans}
        chunks = {span.chunk for span in spans if span.name == "transfer.chunk"}
        whole = {"transfer.upload", "transfer.reassemble"} <= names
        return spans if whole and chunks == set(range(1, CHUNKS + 1)) else None

    return until(found, 60, what=f"a whole trace {trace_id} in {receiver.spans}") or []


def test_an_agent_that_traces(traced: Deployment, receiver: Receiver) -> None:
    tracer = TracerProvider().get_tracer("an agent")
    with tracer.start_as_current_span("publish") as span:
        transfer_id = _upload(traced, "with a trace")
    context = span.get_span_context()
    spans = _complete(receiver, trace.format_trace_id(context.trace_id))
    assert {one.parent for one in spans} == {trace.format_span_id(context.span_id)}
    assert not [one for one in receiver.spans if one.trace == UUID(transfer_id).hex]


def test_an_agent_that_does_not(traced: Deployment, receiver: Receiver) -> None:
    """It is one trace all the same, and the transfer's id finds it."""
    transfer_id = _upload(traced, "without")
    spans = _complete(receiver, UUID(transfer_id).hex)
    assert len({one.parent for one in spans}) == 1


@pytest.mark.parametrize(
    "header",
    [None, 7, "", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-xyz", "00-" + "a" * 32 + "-b-01"],
)
def test_no_trace_is_made_of_nonsense(header: object) -> None:
    assert valid_trace(header) is None


def test_a_worker_ends_although_the_collector_is_away(traced: Deployment) -> None:
    worker = traced.start_worker("three", 1, ARGOSY_TRACES_URL="http://127.0.0.1:9/v1/traces")
    for number in range(4):  # it has done some of it, and has spans that nobody takes
        _upload(traced, f"away {number}")
    worker.ask_to_end()
    assert worker.wait(20) == 0
