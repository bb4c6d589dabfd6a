"""The recorder as a process, against a server that keeps runs as Prefect does, and what dies, hangs or refuses."""

import asyncio
import contextlib
import json
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog

from jobd import events, recorder_client
from jobd.prefect_status import PrefectStatus
from jobd.recorder_client import RecorderClient

FAILURE = events.Failure(kind=events.FailureKind.MODULE, message="it broke")
DONE = (
    events.JobStarted(flow_run_id=""),
    events.EntryWaiting(step="one", entry="copy"),
    events.EntryStarted(step="one", entry="copy", attempt=1, pid=1),
    events.EntryFailed(step="one", entry="copy", attempt=1, failure=FAILURE),
    events.EntrySkipped(step="two", entry="copy", reason="the step before failed"),
    events.JobFailed(failure=FAILURE),
)

_NONSENSE = [{"of": "another", "form": number} for number in range(200)]


@dataclass
class Server:
    """Flow runs and task runs by id, and what is asked of them."""

    url: str = ""
    flow_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    task_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by every question."""
    held: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it."""
    refusing: bool = False
    babbling: bool = False
    """Whether pages are of a form that nobody knows."""

    def answer(self, method: str, path: str, content: Any) -> Any:
        """Do what Prefect does."""
        parts = path.strip("/").split("/")
        runs = self.flow_runs if parts[0] == "flow_runs" else self.task_runs
        match (method, *parts):
            case ("POST", "flows"):
                return {"id": str(uuid.uuid4())}
            case ("POST", "flow_runs", "filter"):
                tag = content["flow_runs"]["tags"]["all_"][0]
                return [run for run in self.flow_runs.values() if tag in run["tags"]]
            case ("POST", "task_runs", "filter"):
                (flow_run_id,) = content["task_runs"]["flow_run_id"]["any_"]
                return [run for run in self.task_runs.values() if run["flow_run_id"] == flow_run_id]
            case ("POST", _, run_id, "set_state"):
                runs[run_id]["state_type"] = content["state"]["type"]
                return {"status": "ACCEPT"}
            case ("POST", _):
                run = content | {"id": str(uuid.uuid4()), "state_type": content["state"]["type"]}
                return runs.setdefault(run["id"], run)
            case ("GET", _, run_id):
                return runs[run_id]
        raise AssertionError(f"{method} {path}")


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve until the test ends."""
    served = Server()
    served.held.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else None
            served.asked.set()
            served.held.wait(60)
            code = 503 if served.refusing else 200
            answer = _NONSENSE if served.babbling else served.answer(self.command, self.path, content)
            body = json.dumps(answer if code == 200 else "").encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - so it is called

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    served.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield served
    served.held.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


class Prefect:
    """A server that is ready."""

    auth = key = ui_url = ""
    status = PrefectStatus(ready=True, reason="")

    def __init__(self, api_url: str) -> None:
        """Be there."""
        self.api_url = api_url


@pytest.fixture
def recording(server: Server, monkeypatch: pytest.MonkeyPatch):
    """Give a way to have a recorder at work within a block."""
    monkeypatch.setattr(recorder_client, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(recorder_client, "delay_before", lambda *_args, **_most: 0.1)

    @contextlib.asynccontextmanager
    async def at_work(office) -> AsyncIterator[RecorderClient]:
        client = RecorderClient(
            state=office.state, prefect=Prefect(server.url), store=office.store, log=structlog.get_logger()
        )
        work = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    return at_work


async def make_failed_job(office) -> str:
    """Have a job that ran without Prefect and failed."""
    job = await office.submit()
    assert await office.launched() == job.id
    office.write(job.id, *DONE)
    await office.ingest.take(job.id)
    assert office.store.get(job.id).terminal
    return job.id


async def recorded(office, job_id: str) -> None:
    """Return when the record is known to be complete."""
    async with asyncio.timeout(60):
        while not office.store.get(job_id).recorded:  # noqa: ASYNC110 - nothing rings for it
            await asyncio.sleep(0.05)


def check_record(server: Server, job_id: str) -> None:
    """See that there is one flow run with one task run, and both tell how it was."""
    (flow_run,) = server.flow_runs.values()
    assert f"job:{job_id}" in flow_run["tags"]
    assert flow_run["state_type"] == "FAILED"
    assert [(run["name"], run["state_type"]) for run in server.task_runs.values()] == [("one/copy", "FAILED")]


def test_what_prefect_never_heard_of_is_written_down(office, server, recording):
    """A job that ran without Prefect has its flow run, and task runs of the entries that ran; the store says so."""

    async def work(office) -> None:
        job_id = await make_failed_job(office)
        async with recording(office):
            await recorded(office, job_id)
        check_record(server, job_id)
        assert office.store.get(job_id).flow_run_id in server.flow_runs

    office(work)


def test_a_recorder_that_is_killed_is_followed_by_another(office, server, recording):
    """Killed in the middle of its work, it leaves nothing undone; and the daemon has gone on meanwhile."""

    async def work(office) -> None:
        job_id = await make_failed_job(office)
        server.held.clear()
        async with recording(office) as client:
            assert await asyncio.to_thread(server.asked.wait, 30)
            first = client.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            server.held.set()
            await recorded(office, job_id)
            assert client.pid not in {None, first}
        check_record(server, job_id)

    office(work)


def test_a_recorder_that_hangs_is_killed(office, server, recording, monkeypatch):
    """One that is stopped is killed when its time is over, and another does the work."""

    async def work(office) -> None:
        job_id = await make_failed_job(office)
        server.held.clear()
        monkeypatch.setattr(recorder_client, "_PATIENCE_SECONDS", 3.0)
        async with recording(office) as client:
            assert await asyncio.to_thread(server.asked.wait, 30)
            first = client.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            server.held.set()
            await recorded(office, job_id)
            assert client.pid != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    office(work)


def test_a_server_that_refuses_is_asked_again(office, server, recording):
    """A refusal is told and tried again; the recorder itself lives on."""

    async def work(office) -> None:
        job_id = await make_failed_job(office)
        server.refusing = True
        async with recording(office) as client:
            assert await asyncio.to_thread(server.asked.wait, 30)
            first = client.pid
            server.refusing = False
            await recorded(office, job_id)
            assert client.pid == first

    office(work)


def test_a_server_that_talks_nonsense_is_asked_again(office, server, recording):
    """A page that is not understood is told of in a few words, and holds up neither this job's record nor others'."""

    async def work(office) -> None:
        job_id = await make_failed_job(office)
        server.babbling = True
        with structlog.testing.capture_logs() as logs:
            async with recording(office):
                assert await asyncio.to_thread(server.asked.wait, 30)
                async with asyncio.timeout(30):
                    while not logs:  # noqa: ASYNC110 - nothing rings for it
                        await asyncio.sleep(0.05)
                server.babbling = False
                await recorded(office, job_id)
        (told, *_rest) = (line for line in logs if line["event"] == "record_not_repaired")
        assert "is not understood" in told["error"]
        assert len(told["error"]) < 1000

    office(work)


def test_it_ends_with_its_work_and_with_the_daemon(office, server, recording, monkeypatch):
    """Without work it ends after a while, and with the one that asked it at once."""

    async def work(office) -> None:
        monkeypatch.setattr(recorder_client, "_KEPT_SECONDS", 0.0)
        job_id = await make_failed_job(office)
        async with recording(office) as client:
            await recorded(office, job_id)
            async with asyncio.timeout(30):
                while client.pid is not None:  # noqa: ASYNC110 - nothing rings for it
                    await asyncio.sleep(0.05)
        monkeypatch.setattr(recorder_client, "_KEPT_SECONDS", 60.0)
        second = await make_failed_job(office)
        async with recording(office) as client:
            await recorded(office, second)
            last = client.pid
            assert last is not None
        with pytest.raises(ProcessLookupError):
            os.kill(last, 0)

    office(work)
