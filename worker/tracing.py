"""Spans of tasks, for OpenTelemetry: all that is done for a transfer is one trace.

Needs the extra `otel`; without `ARGOSY_TRACES_URL` nothing of it is imported.
"""

from __future__ import annotations

import importlib.util
import threading
from typing import Any
from uuid import UUID

import structlog
from celery.signals import task_postrun, task_prerun
from sqlalchemy.exc import SQLAlchemyError

from argosy.settings import FleetSettings, SettingsError
from argosy.trace_context import TRACE_HEADER, valid_trace
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.refusal import is_task_id
from tasks.tracing import own_trace, trace_of

NEEDED = "opentelemetry.exporter.otlp.proto.http"
LAST_SECONDS = 2.0
"""How long a process that ends waits for its last spans to be sent."""

log = structlog.get_logger(__name__)


def check(settings: FleetSettings) -> None:
    """Raise SettingsError where traces are wanted and cannot be made."""
    if not settings.traces_url:
        return
    try:
        found = importlib.util.find_spec(NEEDED)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise SettingsError(
            "ARGOSY_TRACES_URL is set, but OpenTelemetry is not installed: "
            "pip install 'argosy-fleet[otel]', or leave the setting out."
        )


class Tracing:
    """The spans of one process, which must not be forked later: it has a thread."""

    def __init__(self, settings: FleetSettings, worker: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({"service.name": "argosy", "service.instance.id": worker})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=settings.traces_url)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("argosy")
        self._spans: dict[str, Any] = {}

    def listen(self) -> None:
        """Make a span of each task from now on."""
        task_prerun.connect(self._begin)
        task_postrun.connect(self._end)

    def close(self) -> None:
        """Send what has not been sent yet, or give it up: a collector may be away."""
        sending = threading.Thread(target=self._provider.shutdown, daemon=True)
        sending.start()
        sending.join(LAST_SECONDS)

    def _begin(self, task_id: str, task: Any, args: Any, **_: Any) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        trace = _trace(task, task_id, args)
        if trace is None:  # beat's ticks are nobody's
            return
        parent = TraceContextTextMapPropagator().extract({TRACE_HEADER: trace})
        facts = {"messaging.message.id": task_id, "argosy.worker": task.worker}
        if task.name in ("transfer.chunk", "transfer.plan", "transfer.reassemble"):
            facts["argosy.transfer"] = str(args[0])
        if task.name == "transfer.chunk":
            facts["argosy.chunk"] = args[1]
        self._spans[task_id] = self._tracer.start_span(
            task.name, context=parent, kind=SpanKind.CONSUMER, attributes=facts
        )

    def _end(self, task_id: str, state: str | None, **_: Any) -> None:
        from opentelemetry.trace import StatusCode

        span = self._spans.pop(task_id, None)
        if span is not None:
            if state == "FAILURE":
                span.set_status(StatusCode.ERROR)
            span.end()


def _trace(task: Any, task_id: str, args: Any) -> str | None:
    """The trace that a task belongs to; None for what is about no transfer."""
    if isinstance(task, RequestTask):
        own = own_trace(UUID(task_id)) if is_task_id(task_id) else None
        return valid_trace(task.request.get(TRACE_HEADER)) or own
    if not (args and is_task_id(args[0])):
        return None
    transfer_id = UUID(args[0])
    try:
        return fleet().attempt(lambda session: trace_of(session, transfer_id))
    except SQLAlchemyError as error:
        log.warning("trace.not_known", error=type(error).__name__)
        return own_trace(transfer_id)
