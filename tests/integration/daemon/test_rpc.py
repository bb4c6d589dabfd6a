"""The services over real sockets: what a client sends and gets, and what it is told when it asks for too much."""

import asyncio
import contextlib
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from jobapi.v1 import (
    artifact_service_pb2 as artifact_pb,
)
from jobapi.v1 import (
    artifact_service_pb2_grpc,
    job_pb2,
    job_service_pb2_grpc,
    module_service_pb2_grpc,
)
from jobapi.v1 import (
    job_service_pb2 as pb,
)
from jobapi.v1 import (
    module_service_pb2 as module_pb,
)

from jobd import events
from jobd.rpc.artifact_service import ArtifactService
from jobd.rpc.job_service import JobService
from jobd.rpc.module_service import ModuleService
from jobd.rpc.server import RpcServer
from jobd.rpc.server_service import ServerService
from jobd.states import JobState

pytestmark = pytest.mark.timeout(60)

TOKEN = "the-token"
ONE = {"step": "one", "entry": "copy"}
RUNNING = (
    events.JobStarted(flow_run_id="run-1"),
    events.EntryWaiting(**ONE),
    events.EntryStarted(**ONE, attempt=1, pid=1),
)
DONE = (
    events.ArtifactPublished(name="mid.txt", size_bytes=5),
    events.EntrySucceeded(**ONE, attempt=1),
    events.ArtifactRemoved(name="in.txt", reason="its last consumer has succeeded"),
    events.EntryWaiting(step="two", entry="copy"),
    events.EntryStarted(step="two", entry="copy", attempt=1, pid=2),
    events.ArtifactPublished(name="out.txt", size_bytes=10),
    events.EntrySucceeded(step="two", entry="copy", attempt=1),
    events.JobSucceeded(),
)


@dataclass
class Client:
    """Stubs of every service, and the office behind them."""

    office: Any
    tcp: str
    jobs: Any
    artifacts: Any
    modules: Any
    health: Any
    document: bytes

    async def submit(self, **rest: Any) -> job_pb2.Job:
        """Submit the example."""
        return (await self.jobs.Submit(self.request(**rest))).job

    def request(self, **rest: Any) -> pb.SubmitRequest:
        """Make the request that submits the example."""
        inputs = [pb.JobInput(param_name="input", path=str(self.office.input))]
        return pb.SubmitRequest(**({"job_yaml": self.document, "inputs": inputs} | rest))

    async def happen(self, job_id: str, *happened: Any) -> None:
        """Let a job's runner write something down, and have it taken in."""
        self.office.write(job_id, *happened)
        await self.office.ingest.take(job_id)


async def drained(call: Any) -> None:
    """Bring a call to its end, a stream as well."""
    if hasattr(call, "__aiter__"):
        async for _message in call:
            pass
    else:
        await call


async def refused(call: Any) -> tuple[str, str, str]:
    """Make a call that is to fail; give its code, its reason and its text."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drained(call)
    error = caught.value
    reason = ""
    status = rpc_status.from_call(error)
    if status is not None:
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        reason = info.reason
    return error.code().name, reason, error.details()


@pytest.fixture
def serve(opened, document: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that runs a test's coroutine with a client on the unix socket of a real server."""

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[Client]:
        async with opened() as office:
            prefect = office.supervisor._prefect
            server = RpcServer(
                jobs=JobService(
                    store=office.store,
                    submissions=office.submissions,
                    supervisor=office.supervisor,
                    watcher=office.watcher,
                    state=office.state,
                    dashboard_url=prefect.ui_url,
                ),
                artifacts=ArtifactService(store=office.store, state=office.state, uploads=office.uploads),
                modules=ModuleService(office.catalog),
                server=ServerService(prefect=prefect, cpus=2, count=office.store.count),
                token=TOKEN,
                log=structlog.get_logger(),
            )
            monkeypatch.chdir(tmp_path)
            port = server._server.add_insecure_port("127.0.0.1:0")
            await server.start(["unix:jobd.sock"])
            async with grpc.aio.insecure_channel("unix:jobd.sock") as channel:
                yield Client(
                    office=office,
                    tcp=f"127.0.0.1:{port}",
                    jobs=job_service_pb2_grpc.JobServiceStub(channel),
                    artifacts=artifact_service_pb2_grpc.ArtifactServiceStub(channel),
                    modules=module_service_pb2_grpc.ModuleServiceStub(channel),
                    health=health_pb2_grpc.HealthStub(channel),
                    document=document,
                )
            office.watcher.drain()
            await server.stop(0)

    async def begin(work: Callable) -> None:
        async with serving() as client:
            await work(client)

    return lambda work: asyncio.run(begin(work))


def test_a_job_is_submitted_and_told_of(serve):
    """A submitted job can be got by its id, the beginning of it and as the latest, and is listed."""

    async def work(client: Client) -> None:
        job = await client.submit(labels={"team": "news"}, priority=7)
        assert (job.state, job.name, job.version, job.priority) == (job_pb2.JOB_STATE_QUEUED, "example", "1.0", 7)
        for text in (job.id, job.id[:5], "@latest"):
            got = (await client.jobs.Get(pb.GetRequest(id=text))).job
            assert (got.id, dict(got.labels), len(got.steps), len(got.artifacts)) == (job.id, {"team": "news"}, 2, 3)
        listed = await client.jobs.List(pb.ListRequest())
        assert [item.id for item in listed.jobs] == [job.id]
        assert not listed.next_page_token

    serve(work)


def test_a_request_id_submits_once(serve):
    """The same request sent again, also many times at once, gives the same job; other content is refused."""

    async def work(client: Client) -> None:
        request = client.request(request_id="r1")
        answers = await asyncio.gather(*(client.jobs.Submit(request) for _ in range(10)))
        assert len({answer.job.id for answer in answers}) == 1
        assert sorted(answer.existed for answer in answers) == [False] + [True] * 9
        other = client.request(request_id="r1", priority=1)
        assert (await refused(client.jobs.Submit(other)))[:2] == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        assert len(list(client.office.state.jobs.iterdir())) == 1

    serve(work)


def test_a_bad_submission_leaves_nothing(serve, tmp_path: Path):
    """Whatever is wrong with a submission is told with its code, and nothing of it is stored."""

    async def work(client: Client) -> None:
        path = str(client.office.input)
        both = [pb.JobInput(param_name="input", path=path)]
        for rest, expected in [
            ({"job_yaml": b""}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"job_yaml": b"\xff\x00"}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"job_yaml": client.document.replace(b"copy", b"cpoy")}, ("INVALID_ARGUMENT", "INVALID_JOB")),
            ({"inputs": []}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": both * 2}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"inputs": [pb.JobInput(param_name="input")]}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"inputs": [pb.JobInput(param_name="inptu", path=path)]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": [pb.JobInput(param_name="input", path="given.txt")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": [pb.JobInput(param_name="input", path="/missing")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"inputs": [pb.JobInput(param_name="input", upload_id="../x")]}, ("INVALID_ARGUMENT", "INVALID_INPUT")),
            ({"request_id": "r" * 129}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
            ({"priority": 1001}, ("INVALID_ARGUMENT", "INVALID_REQUEST")),
        ]:
            assert (await refused(client.jobs.Submit(client.request(**rest))))[:2] == expected, rest
        assert list(client.office.state.jobs.iterdir()) == []
        assert not (await client.jobs.List(pb.ListRequest())).jobs

    serve(work)


def test_all_that_is_wrong_fits_on_the_wire(serve):
    """Hundreds of violations, in any script, and very long ids reach the client as what they are."""

    async def work(client: Client) -> None:
        entries = "".join(f"      - module: 完全に間違っている-{number}-{'😀' * 20}\n" for number in range(500))
        document = f"name: many\nsteps:\n  - name: one\n    entries:\n{entries}".encode()
        code, reason, text = await refused(client.jobs.Submit(client.request(job_yaml=document, inputs=[])))
        assert (code, reason) == ("INVALID_ARGUMENT", "INVALID_JOB"), text
        answer = await client.jobs.Validate(pb.ValidateRequest(job_yaml=document))
        assert len(answer.violations) >= 500
        for letter in ("x", "é", "😀", "%", "\n"):
            told = await refused(client.jobs.Get(pb.GetRequest(id=letter * 5000)))
            assert told[:2] == ("NOT_FOUND", "JOB_NOT_FOUND"), letter

    serve(work)


async def watched(call: Any) -> tuple[list[str], list[int], list[str]]:
    """Read a watch to its end: which messages came, the sequences and the kinds of its events."""
    messages = [message async for message in call]
    seen = [message.event for message in messages if message.WhichOneof("message") == "event"]
    kinds = [message.WhichOneof("message") for message in messages]
    return kinds, [event.sequence for event in seen], [event.WhichOneof("kind") for event in seen]


def test_a_watch_misses_nothing_and_ends(serve):
    """A snapshot, then every event once and in order while it happens, one terminal event, then the end."""

    async def work(client: Client) -> None:
        job = await client.submit()
        calls = [asyncio.create_task(watched(client.jobs.Watch(pb.WatchRequest(id=job.id)))) for _ in range(5)]
        for event in (*RUNNING, *DONE):
            await client.happen(job.id, event)
        last = client.office.store.get(job.id).sequence
        for call in calls:
            kinds, sequences, events_seen = await call
            assert kinds[0] == "snapshot"
            assert kinds.count("snapshot") == 1
            assert sequences == [*range(1, last + 1)]
            assert events_seen[-1] == "job_succeeded"
            assert sum(kind in events.TERMINAL_KINDS for kind in events_seen) == 1

    serve(work)


def test_a_watch_goes_on_after_a_sequence(serve):
    """Asked again after the last sequence that was seen, a watch repeats nothing, also after the job's end."""

    async def work(client: Client) -> None:
        job = await client.submit()
        await client.happen(job.id, *RUNNING, *DONE)
        last = client.office.store.get(job.id).sequence
        for after in (0, 3, last - 1, last, last + 5):
            _kinds, sequences, _events = await watched(
                client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=after))
            )
            assert sequences == [*range(after + 1, last + 1)]
        told = await refused(client.jobs.Watch(pb.WatchRequest(id=job.id, after_sequence=-1)))
        assert told[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")

    serve(work)


def test_a_watch_of_a_daemon_that_ends_asks_to_come_again(serve):
    """A client that watches while the daemon shuts down is told that it may come again."""

    async def work(client: Client) -> None:
        job = await client.submit()
        messages = aiter(client.jobs.Watch(pb.WatchRequest(id=job.id)))
        assert (await anext(messages)).WhichOneof("message") == "snapshot"
        client.office.watcher.drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await drained(messages)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    serve(work)


def test_watchers_that_hang_up_leave_nothing(serve):
    """The bells of clients that went away are taken down."""

    async def work(client: Client) -> None:
        job = await client.submit()
        calls = [client.jobs.Watch(pb.WatchRequest(id=job.id)) for _ in range(20)]
        for call in calls:
            await call.read()
            call.cancel()
        async with asyncio.timeout(20):
            while client.office.bells._waiting.get(job.id):
                await client.happen(job.id, events.JobWaiting(reason="x"))
        assert (await client.jobs.Get(pb.GetRequest(id=job.id))).job.id == job.id

    serve(work)


def test_a_cancel_can_be_repeated(serve):
    """Cancelling a queued job ends it; cancelling it again, or another that is unknown, changes nothing."""

    async def work(client: Client) -> None:
        jobs = [await client.submit() for _ in range(3)]
        first = (await client.jobs.Cancel(pb.CancelRequest(id=jobs[2].id, reason="enough"))).job
        again = (await client.jobs.Cancel(pb.CancelRequest(id=jobs[2].id))).job
        assert (first.state, first.reason) == (job_pb2.JOB_STATE_CANCELLED, "enough")
        assert (again.state, again.last_sequence) == (first.state, first.last_sequence)
        assert (await refused(client.jobs.Cancel(pb.CancelRequest(id="zzz"))))[0] == "NOT_FOUND"

    serve(work)


def test_a_list_comes_in_pages(serve):
    """Pages hold every job once, newest first; a token that is none is refused."""

    async def work(client: Client) -> None:
        jobs = [await client.submit() for _ in range(5)]
        seen, token = [], ""
        while True:
            page = await client.jobs.List(pb.ListRequest(page_size=2, page_token=token))
            seen += [job.id for job in page.jobs]
            if not (token := page.next_page_token):
                break
        assert seen == [job.id for job in reversed(jobs)]
        await client.jobs.Cancel(pb.CancelRequest(id=jobs[4].id))
        some = await client.jobs.List(pb.ListRequest(states=[job_pb2.JOB_STATE_CANCELLED]))
        assert [job.id for job in some.jobs] == [jobs[4].id]
        assert (await refused(client.jobs.List(pb.ListRequest(page_size=-1))))[0] == "INVALID_ARGUMENT"

    serve(work)


@pytest.mark.parametrize(
    "token", ["x", "MTp4", "Mjox", "====", "é", "MTo5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "/w==", "MTot"], ids=ascii
)
def test_a_page_token_that_is_none_is_refused(serve, token: str):
    """A token that List did not give is the client's error, not the daemon's."""

    async def work(client: Client) -> None:
        await client.submit()
        told = await refused(client.jobs.List(pb.ListRequest(page_token=token)))
        assert told[:2] == ("INVALID_ARGUMENT", "INVALID_REQUEST")

    serve(work)


async def logged(call: Any) -> bytes:
    """Read a log to its end, checking that the offsets are those of the bytes."""
    data = b""
    first = None
    async for piece in call:
        first = piece.offset if first is None else first
        assert piece.offset == first + len(data)
        data += piece.data
    return data


def test_a_log_is_followed_to_the_end_of_its_entry(serve):
    """What a module writes arrives while it runs, and the stream ends with the entry."""

    async def work(client: Client) -> None:
        job = await client.submit()
        await client.happen(job.id, *RUNNING)
        path = client.office.state.job(job.id).log("one", "copy", 1)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"first\n")
        pieces = aiter(client.jobs.Logs(pb.LogsRequest(id=job.id, step="one", entry="copy", follow=True)))
        assert (await anext(pieces)).data == b"first\n"
        with path.open("ab") as file:
            file.write(b"x" * 200_000)
        await client.happen(job.id, events.EntrySucceeded(**ONE, attempt=1))
        rest = b"".join([piece.data async for piece in pieces])
        assert rest == b"x" * 200_000
        whole = pb.LogsRequest(id=job.id, step="one", entry="copy")
        assert await logged(client.jobs.Logs(whole)) == b"first\n" + rest
        whole.offset = 100_000
        assert await logged(client.jobs.Logs(whole)) == b"x" * 100_006
        whole.offset = 200_006
        assert await logged(client.jobs.Logs(whole)) == b""
        whole.offset = 200_007
        assert (await refused(client.jobs.Logs(whole)))[0] == "OUT_OF_RANGE"

    serve(work)


def test_logs_of_nothing_are_refused(serve):
    """An entry that the job does not have, and numbers that cannot be, are errors; a job that waits has no log."""

    async def work(client: Client) -> None:
        job = await client.submit()
        assert await logged(client.jobs.Logs(pb.LogsRequest(id=job.id))) == b""
        for rest, code in [
            ({"step": "nine"}, "NOT_FOUND"),
            ({"step": "one", "entry": "../../x"}, "NOT_FOUND"),
            ({"offset": -1}, "INVALID_ARGUMENT"),
            ({"attempt": -1}, "INVALID_ARGUMENT"),
            ({"offset": 1}, "INVALID_ARGUMENT"),
        ]:
            assert (await refused(client.jobs.Logs(pb.LogsRequest(id=job.id, **rest))))[0] == code, rest

    serve(work)


async def downloaded(call: Any) -> tuple[artifact_pb.DownloadHeader, bytes, str]:
    """Read a download to its end."""
    messages = [message async for message in call]
    data = b"".join(message.data for message in messages[1:-1])
    return messages[0].header, data, messages[-1].trailer.sha256


def test_an_artifact_is_downloaded_whole_or_from_an_offset(serve):
    """A file comes with its size and digest, from any byte on; one that is gone or unknown says so."""

    async def work(client: Client) -> None:
        job = await client.submit()
        await client.happen(job.id, *RUNNING, *DONE)
        (client.office.state.job(job.id).artifacts / "out.txt").write_bytes(b"0123456789")
        for offset in (0, 4, 10):
            request = artifact_pb.DownloadRequest(job_id=job.id, name="out.txt", offset=offset)
            header, data, digest = await downloaded(client.artifacts.Download(request))
            assert (header.size_bytes, data) == (10, b"0123456789"[offset:])
            assert digest == hashlib.sha256(data).hexdigest()
        for name, offset, code in [
            ("out.txt", 11, "OUT_OF_RANGE"),
            ("out.txt", -1, "OUT_OF_RANGE"),
            ("in.txt", 0, "FAILED_PRECONDITION"),
            ("nothing", 0, "NOT_FOUND"),
            ("../plan.json", 0, "NOT_FOUND"),
        ]:
            request = artifact_pb.DownloadRequest(job_id=job.id, name=name, offset=offset)
            assert (await refused(client.artifacts.Download(request)))[0] == code, name

    serve(work)


def test_a_folder_is_downloaded_as_a_tar(serve):
    """A folder arrives as a tar of all it holds, with links as links."""

    async def work(client: Client) -> None:
        job = await client.submit()
        published = events.ArtifactPublished(name="mid.txt", size_bytes=3, folder=True)
        await client.happen(job.id, *RUNNING, published)
        folder = client.office.state.job(job.id).artifacts / "mid.txt"
        (folder / "sub").mkdir(parents=True)
        (folder / "sub/é.bin").write_bytes(os.urandom(700_000))
        (folder / "link").symlink_to("sub/é.bin")
        request = artifact_pb.DownloadRequest(job_id=job.id, name="mid.txt")
        header, data, digest = await downloaded(client.artifacts.Download(request))
        assert (header.folder, digest) == (True, hashlib.sha256(data).hexdigest())
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert sorted(tar.getnames()) == ["link", "sub", "sub/é.bin"]
            assert tar.extractfile("sub/é.bin").read() == (folder / "sub/é.bin").read_bytes()

    serve(work)


def test_an_upload_becomes_an_input(serve):
    """A file that was sent in pieces can be named as an input, also by a repeated submission."""

    async def work(client: Client) -> None:
        pieces = [artifact_pb.UploadRequest(data=b"one "), artifact_pb.UploadRequest(data=b"two")]
        upload = await client.artifacts.Upload(iter(pieces))
        assert (upload.size_bytes, upload.sha256) == (7, hashlib.sha256(b"one two").hexdigest())
        request = client.request(inputs=[pb.JobInput(param_name="input", upload_id=upload.upload_id)], request_id="r1")
        job = (await client.jobs.Submit(request)).job
        assert (client.office.state.job(job.id).artifacts / "in.txt").read_bytes() == b"one two"
        again = await client.jobs.Submit(request)
        assert (again.job.id, again.existed) == (job.id, True)

    serve(work)


def test_an_upload_that_breaks_off_leaves_nothing(serve, monkeypatch: pytest.MonkeyPatch):
    """A client that hangs up in the middle leaves no upload behind, and one that sends nothing is told so."""

    async def work(client: Client) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        receive = client.office.uploads.receive

        async def noted(pieces: Any, *, folder: bool) -> Any:
            begun.set()
            try:
                return await receive(pieces, folder=folder)
            finally:
                ended.set()

        monkeypatch.setattr(client.office.uploads, "receive", noted)
        call = client.artifacts.Upload()
        await call.write(artifact_pb.UploadRequest(data=b"half"))
        await asyncio.wait_for(begun.wait(), 20)
        call.cancel()
        await asyncio.wait_for(ended.wait(), 20)
        assert list(client.office.state.uploads.iterdir()) == []
        assert (await refused(client.artifacts.Upload(iter([]))))[0] == "INVALID_ARGUMENT"

    serve(work)


def test_modules_are_listed(serve):
    """A module is told with its files; one that is not there is an error."""

    async def work(client: Client) -> None:
        listed = await client.modules.ListModules(module_pb.ListModulesRequest())
        assert [(module.name, module.inputs[0].param_name) for module in listed.modules] == [("copy", "input")]
        told = await refused(client.modules.ListModules(module_pb.ListModulesRequest(name="cpoy")))
        assert told[:2] == ("NOT_FOUND", "MODULE_NOT_FOUND")

    serve(work)


def test_over_tcp_the_token_is_needed(serve):
    """Every service refuses a call over TCP that has no token or a wrong one, streams too; with it, it is served."""

    async def work(client: Client) -> None:
        job = await client.submit()
        async with grpc.aio.insecure_channel(client.tcp) as channel:
            jobs = job_service_pb2_grpc.JobServiceStub(channel)
            artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
            for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", f"Basic {TOKEN}"),)):
                for call in (
                    jobs.Get(pb.GetRequest(id=job.id), metadata=metadata),
                    jobs.Watch(pb.WatchRequest(id=job.id), metadata=metadata),
                    artifacts.Upload(iter([artifact_pb.UploadRequest(data=b"x")]), metadata=metadata),
                ):
                    assert (await refused(call))[:2] == ("UNAUTHENTICATED", "UNAUTHENTICATED")
            right = (("authorization", f"Bearer {TOKEN}"),)
            assert (await jobs.Get(pb.GetRequest(id=job.id), metadata=right)).job.id == job.id
        assert list(client.office.state.uploads.iterdir()) == []

    serve(work)


def test_a_fault_of_the_daemon_tells_no_secrets(serve, monkeypatch: pytest.MonkeyPatch):
    """An error that nobody foresaw reaches the client as an incident's number, not as the daemon's inside."""

    async def work(client: Client) -> None:
        def broken(_job_id: str) -> None:
            raise ZeroDivisionError("/secret/path")

        job = await client.submit()
        monkeypatch.setattr(client.office.store, "get", broken)
        code, _reason, text = await refused(client.jobs.Get(pb.GetRequest(id=job.id)))
        assert code == "INTERNAL"
        assert "incident" in text
        assert "secret" not in text

    serve(work)


def test_health_is_told(serve):
    """A prober is told that the daemon as a whole and the job service serve."""

    async def work(client: Client) -> None:
        for name in ("", "jobapi.v1.JobService"):
            answer = await client.health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    serve(work)


def test_a_cancelled_call_changes_nothing_for_others(serve):
    """Clients that hang up in the middle of any call leave a daemon that serves the next one."""

    async def work(client: Client) -> None:
        for _ in range(20):
            calls = [client.jobs.Submit(client.request()), client.jobs.Cancel(pb.CancelRequest(id="@latest"))]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
        job = await client.submit()
        cancelled = (await client.jobs.Cancel(pb.CancelRequest(id=job.id))).job
        assert cancelled.state in {job_pb2.JOB_STATE_CANCELLED, job_pb2.JOB_STATE_CANCELLING}
        assert client.office.store.get(job.id).state in {JobState.CANCELLED, JobState.CANCELLING}

    serve(work)
