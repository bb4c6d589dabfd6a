"""A flow run before the fork, against an API that only pretends: what Prefect builds at its first run is built then."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

from prefect._internal.concurrency.threads import get_global_loop, get_run_sync_loop
from prefect.client.schemas.objects import FlowRun
from prefect.context import SyncClientContext
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.states import Running

from jobd.flow import run_as_flow
from jobd.flow_client import sharing_client
from jobd.messages import FlowRunId
from jobd.plan import Plan, PlanEntry, PlanStep
from jobd.states import EntryState, JobState

_DRAIN_SECONDS = 5.0


def rehearse() -> None:
    """Run a job of two steps that does nothing. No server hears of it; it takes 0.3 s and leaves no thread.

    It must come before the client that flow runs share: Prefect would use that one, and so the true server.
    """
    if SyncClientContext.get() is not None:
        raise RuntimeError("the rehearsal comes before the client")
    EventsWorker.set_client_override(NullEventsClient)
    try:
        with (
            _pretending() as url,
            temporary_settings(
                {
                    PREFECT_API_URL: url,
                    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False,
                    PREFECT_LOGGING_TO_API_ENABLED: False,
                }
            ),
            sharing_client(),
        ):
            made = FlowRunId(id=uuid4(), flow_id=uuid4())
            run_as_flow(_Run(), made)  # type: ignore[arg-type]
        EventsWorker.drain_all(timeout=_DRAIN_SECONDS)
    finally:
        EventsWorker.set_client_override(None)
    # A fork copies the locks that other threads hold, but not the threads: none may be left. New ones are made at need.
    for loop in (get_global_loop(), get_run_sync_loop()):
        loop.shutdown()
        loop.thread.join(_DRAIN_SECONDS)


class _Run:
    """All that a flow asks of a job."""

    job_id = "rehearsal"
    cpus = 1.0
    verdict_message = "it was only a rehearsal"

    def __init__(self) -> None:
        self.at_work = threading.Event()
        steps = [
            PlanStep(name=step, entries=(PlanEntry(step=step, name="entry", module="", folder="", entrypoint=""),))
            for step in ("one", "two")
        ]
        self.plan = Plan(name="rehearsal", version="", steps=tuple(steps))

    def begin(self, _flow_run_id: str) -> None:
        """Tell nobody."""

    def drive(self, run_step: Callable[[PlanStep], None]) -> JobState:
        """Run the steps."""
        for step in self.plan.steps:
            run_step(step)
        return JobState.SUCCEEDED

    def finished(self, _entry: PlanEntry) -> bool:
        """Tell that nothing was done before."""
        return False

    def run_entry(self, _entry: PlanEntry, show: Callable[[str], None]) -> tuple[EntryState, str]:
        """Show a line, as modules do."""
        show("a line")
        return EntryState.SUCCEEDED, ""


@contextmanager
def _pretending() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
            thread.join()


class _Api(BaseHTTPRequestHandler):
    """Answers as a server that accepts everything."""

    protocol_version = "HTTP/1.1"
    _flow_run = FlowRun(id=uuid4(), flow_id=uuid4(), name="rehearsal", state=Running())

    def _answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = self._content(sent).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _content(self, sent: bytes) -> str:
        if self.path.endswith("/set_state"):
            state = json.loads(sent)["state"]
            return json.dumps({"status": "ACCEPT", "details": {"type": "accept_details"}, "state": state})
        if "/flows/" in self.path:
            return json.dumps({"id": str(self._flow_run.flow_id), "name": self._flow_run.name})
        return self._flow_run.model_dump_json()

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names are those of HTTP

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Keep the nursery's log for what matters."""
