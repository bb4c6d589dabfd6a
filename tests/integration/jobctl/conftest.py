"""A daemon in this process that speaks the real protocol and does as a test tells it."""

# ruff: noqa: N802 - the methods of servicers have the names of the protocol
import fcntl
import hashlib
import io
import os
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from jobapi.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    module_service_pb2,
    module_service_pb2_grpc,
)

JOB_ID = "job7f3a"
Fault = tuple[str, int]
"""What to do to a stream, `unavailable` or `restart` for example, and after how many messages."""


def make_events(end: str = "job_succeeded", count: int = 12) -> list[job_pb2.Event]:
    """Make a job's history of `count` events with the given end."""
    events = [job_pb2.Event(job_submitted=job_pb2.JobSubmitted()), job_pb2.Event(job_started=job_pb2.JobStarted())]
    events.append(job_pb2.Event(entry_started=job_pb2.EntryStarted(step="cut", entry="audio", attempt=1, pid=42)))
    while len(events) < count - 1:
        progress = job_pb2.EntryProgress(step="cut", entry="audio", percent=len(events))
        events.append(job_pb2.Event(entry_progress=progress))
    last = job_pb2.Event()
    getattr(last, end).SetInParent()
    events.append(last)
    for sequence, event in enumerate(events, 1):
        event.sequence, event.job_id = sequence, JOB_ID
        event.time.FromSeconds(1_790_000_000 + sequence)
    return events


def make_job(state: str = "SUCCEEDED") -> job_pb2.Job:
    """Make a job with one entry and an artifact in each state."""
    job = job_pb2.Job(id=JOB_ID, name="demo", version="1.0", state=f"JOB_STATE_{state}", entry_count=1)
    job.steps.add(name="cut").entries.add(name="audio", module="extract_audio", state="ENTRY_STATE_SUCCEEDED")
    job.artifacts.add(name="audio.wav", type="audio", public=True, state="ARTIFACT_STATE_PRESENT", size_bytes=700_000)
    job.artifacts.add(name="stills", type="images", public=True, state="ARTIFACT_STATE_PRESENT", folder=True)
    job.artifacts.add(
        name="raw.yuv", type="video", state="ARTIFACT_STATE_REMOVED", reason="its last consumer succeeded"
    )
    return job


def make_plan() -> job_service_pb2.Plan:
    """Make a plan that needs one input."""
    plan = job_service_pb2.Plan(name="demo", version="1.0")
    plan.inputs.add(param_name="input", type="video", artifact_names=["video.mp4"])
    plan.steps.add(name="cut").entries.add(name="audio", module="extract_audio", inputs=["video.mp4"])
    return plan


@dataclass
class FakeDaemon:
    """Answers from these fields; a test sets them before it calls, and reads what arrived after."""

    socket: Path
    job: job_pb2.Job = field(default_factory=make_job)
    events: list[job_pb2.Event] = field(default_factory=make_events)
    faults: deque[Fault] = field(default_factory=deque)
    violations: list[job_service_pb2.Violation] = field(default_factory=list)
    token: str = ""
    submits: list[job_service_pb2.SubmitRequest] = field(default_factory=list)
    submit_failures: int = 0
    retries: list[job_service_pb2.RetryRequest] = field(default_factory=list)
    others: dict[str, job_pb2.Job] = field(default_factory=dict)
    """Jobs beside the one, by id; they have no history."""
    on_end: Callable[[], None] = lambda: None
    """Called before the last event of the job is sent."""
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a stream falls silent."""
    on_break: Callable[[], None] = lambda: None
    """Called when a client has ended a silent stream."""
    listed: list[job_pb2.Job] | None = None
    """What List answers, newest first; None for hundreds of made-up jobs."""
    watches: list[job_service_pb2.WatchRequest] = field(default_factory=list)
    uploads: dict[str, tuple[bool, bytes]] = field(default_factory=dict)
    parts: dict[str, bytearray] = field(default_factory=dict)
    """What has arrived of uploads that can be gone on with, by id."""
    upload_faults: deque[int] = field(default_factory=deque)
    """After how many messages the next streams to such uploads break."""
    upload_streams: list[tuple[str, int]] = field(default_factory=list)
    """The uploads that were sent to, and from which byte on."""
    download_offsets: list[int] = field(default_factory=list)
    version: str = ""
    """Of every artifact; empty for a daemon of before there were any."""
    files: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, dict[str, bytes]] = field(default_factory=dict)
    logs: list[job_service_pb2.LogsResponse] = field(default_factory=list)
    port: int = 0
    _servers: list[grpc.Server] = field(default_factory=list)
    _restarts: list[threading.Thread] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix:{self.socket}"

    def start(self) -> None:
        """Listen."""
        server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        job_service_pb2_grpc.add_JobServiceServicer_to_server(JobService(self), server)
        job_service_pb2_grpc.add_ServerServiceServicer_to_server(ServerService(self), server)
        artifact_service_pb2_grpc.add_ArtifactServiceServicer_to_server(ArtifactService(self), server)
        module_service_pb2_grpc.add_ModuleServiceServicer_to_server(ModuleService(), server)
        server.add_insecure_port(self.address)
        if not self.port:
            self.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self._servers.append(server)

    def stop(self) -> None:
        """Listen no more, and break every stream off."""
        self._servers.pop().stop(None).wait()

    def restart_aside(self) -> None:
        """Restart in another thread, so that a handler can ask for it."""
        thread = threading.Thread(target=lambda: (self.stop(), self.start()))
        self._restarts.append(thread)
        thread.start()

    def close(self) -> None:
        """End everything."""
        for thread in self._restarts:
            thread.join(10)
            assert not thread.is_alive()
        while self._servers:
            self.stop()


def fail(context: grpc.ServicerContext, code: int, reason: str, message: str, **metadata: str) -> None:
    """Abort a call as the daemon does."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(domain="jobd", reason=reason, metadata=metadata))
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=code, message=message, details=[detail])))


def is_over(job: job_pb2.Job) -> bool:
    """Tell whether a job has ended."""
    return job.state >= job_pb2.JOB_STATE_SUCCEEDED


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Jobs: there is one with a history, and those that a test adds."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon

    def _find(self, job_id: str, context: grpc.ServicerContext) -> job_pb2.Job:
        if self.daemon.token and f"Bearer {self.daemon.token}" not in dict(context.invocation_metadata()).values():
            fail(context, code_pb2.UNAUTHENTICATED, "UNAUTHENTICATED", "the call carries no valid token")
        if job_id in self.daemon.others:
            return self.daemon.others[job_id]
        if not (job_id == "@latest" or JOB_ID.startswith(job_id)):
            fail(context, code_pb2.NOT_FOUND, "JOB_NOT_FOUND", f"there is no job {job_id}", hint="jobctl list")
        return self.daemon.job

    def Get(self, request, context):
        return job_service_pb2.GetResponse(job=self._find(request.id, context))

    def Cancel(self, request, context):
        job = self._find(request.id, context)
        job.state, job.reason = job_pb2.JOB_STATE_CANCELLING, request.reason
        return job_service_pb2.CancelResponse(job=job)

    def List(self, request, context):
        start = int(request.page_token or 0)
        made_up = [job_pb2.Job(id=f"job{number}", name="demo", state=2) for number in range(450)]
        jobs = made_up if self.daemon.listed is None else list(self.daemon.listed)
        page = jobs[start : start + request.page_size]
        token = str(start + len(page)) if start + len(page) < len(jobs) else ""
        return job_service_pb2.ListResponse(jobs=page, next_page_token=token)

    def Retry(self, request, context):
        job = self._find(request.id, context)
        if job.state not in {job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED}:
            fail(context, code_pb2.FAILED_PRECONDITION, "NOT_RETRIABLE", f"job {job.id} is succeeded")
        self.daemon.retries.append(request)
        if len(self.daemon.retries) <= self.daemon.submit_failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return job_service_pb2.RetryResponse(job=job_pb2.Job(id=JOB_ID, state=1, retry_of=job.id))

    def Delete(self, request, context):
        job = self._find(request.id, context)
        if job.state in {job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_CANCELLING}:
            fail(context, code_pb2.FAILED_PRECONDITION, "JOB_NOT_ENDED", f"job {job.id} is running", hint="cancel it")
        if job.owner == "somebody else":
            fail(context, code_pb2.PERMISSION_DENIED, "NOT_OWNER", f"job {job.id} belongs to somebody else")
        self.daemon.others.pop(job.id, None)
        return job_service_pb2.DeleteResponse(id=job.id)

    def Explain(self, request, context):
        self._find(request.id, context)
        if request.entry not in {"", "audio"}:
            fail(context, code_pb2.NOT_FOUND, "ENTRY_NOT_FOUND", f"there is no entry {request.entry}")
        answer = job_service_pb2.ExplainResponse()
        if not request.step:
            answer.explanations.add(subject="job", text="every entry succeeded")
        answer.explanations.add(subject="cut/audio", text="attempt 1 \x1b[2J succeeded")
        return answer

    def Validate(self, request, context):
        if self.daemon.violations:
            return job_service_pb2.ValidateResponse(violations=self.daemon.violations)
        return job_service_pb2.ValidateResponse(plan=make_plan())

    def Submit(self, request, context):
        self.daemon.submits.append(request)
        if len(self.daemon.submits) <= self.daemon.submit_failures:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return job_service_pb2.SubmitResponse(job=job_pb2.Job(id=JOB_ID, name="demo", state=1))

    def Watch(self, request, context):
        job = self._find(request.id, context)
        self.daemon.watches.append(request)
        if job.id != JOB_ID:
            yield job_service_pb2.WatchResponse(snapshot=job)
            self._break("" if is_over(job) else "silence", context)
            return
        snapshot = job_pb2.Job(id=JOB_ID, name="demo", state=job_pb2.JOB_STATE_RUNNING)
        if request.after_sequence >= len(self.daemon.events):
            snapshot.state, snapshot.last_sequence = job.state, len(self.daemon.events)
        how, after = self.daemon.faults.popleft() if self.daemon.faults else ("", -1)
        messages = [job_service_pb2.WatchResponse(snapshot=snapshot)]
        for event in self.daemon.events[request.after_sequence :]:
            heartbeat = job_service_pb2.Heartbeat(last_sequence=event.sequence - 1)
            messages.append(job_service_pb2.WatchResponse(heartbeat=heartbeat))
            messages.append(job_service_pb2.WatchResponse(event=event))
        for number, message in enumerate(messages):
            if number == after and not self._break(how, context):
                return
            if number == len(messages) - 1:
                self.daemon.on_end()
            if not (how == "gap" and number in {after, after + 1}):
                yield message
            if how == "repeat":
                yield message

    def _break(self, how: str, context: grpc.ServicerContext) -> bool:
        if how == "silence":
            gone = threading.Event()
            context.add_callback(gone.set)
            self.daemon.held.set()
            if gone.wait(20):
                self.daemon.on_break()
        elif how == "restart":
            self.daemon.restart_aside()
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait(20)
        elif how in {"unavailable", "cancelled"}:
            context.abort(getattr(grpc.StatusCode, how.upper()), "told to")
        return how in {"repeat", "gap"}

    def Logs(self, request, context):
        how, after = self.daemon.faults.popleft() if self.daemon.faults else ("", -1)
        for number, piece in enumerate(self.daemon.logs):
            if number == after:
                context.abort(grpc.StatusCode.UNAVAILABLE, how)
            if not request.entry or (piece.step, piece.entry) == (request.step, request.entry):
                yield piece
        if request.follow and not is_over(self._find(request.id, context)):
            self._break("silence", context)


class ServerService(job_service_pb2_grpc.ServerServiceServicer):
    """The daemon itself."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon

    def GetServerInfo(self, request, context):
        if self.daemon.token:
            JobService(self.daemon)._find(JOB_ID, context)
        return job_service_pb2.GetServerInfoResponse(version="9.9", prefect_status="ready", max_job_bytes=2 << 20)

    def OpenDashboard(self, request, context):
        job = JobService(self.daemon)._find(request.job_id, context)
        return job_service_pb2.OpenDashboardResponse(url=job.dashboard_url)


class ModuleService(module_service_pb2_grpc.ModuleServiceServicer):
    """Modules: one that works and one that does not."""

    def ListModules(self, request, context):
        answer = module_service_pb2.ListModulesResponse()
        if request.name in {"", "probe"}:
            module = answer.modules.add(name="probe", description="tells what a video is")
            module.inputs.add(param_name="input", type="video")
        answer.broken.add(folder="/srv/modules/bad", reasons=["no entrypoint"])
        return answer


class ArtifactService(artifact_service_pb2_grpc.ArtifactServiceServicer):
    """Uploads are kept; downloads come from the daemon's files and folders."""

    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon

    def BeginUpload(self, request, context):
        for upload_id, (folder, data) in self.daemon.uploads.items():
            if (folder, hashlib.sha256(data).hexdigest()) == (request.folder, request.sha256):
                return artifact_service_pb2.BeginUploadResponse(upload_id=upload_id, offset=len(data), complete=True)
        part = self.daemon.parts.setdefault(request.sha256, bytearray())
        return artifact_service_pb2.BeginUploadResponse(upload_id=request.sha256, offset=len(part))

    def _go_on(self, first, requests, context):
        self.daemon.upload_streams.append((first.upload_id, first.offset))
        part = self.daemon.parts[first.upload_id]
        if first.offset != len(part):
            fail(context, code_pb2.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE", "not there", offset=str(len(part)))
        end = self.daemon.upload_faults.popleft() if self.daemon.upload_faults else -1
        for number, request in enumerate(requests):
            if number == end:
                context.abort(grpc.StatusCode.UNAVAILABLE, "told to")
            part += request.data
            if request.finish:
                digest = hashlib.sha256(part).hexdigest()
                self.daemon.uploads[first.upload_id] = (False, bytes(part))
                return artifact_service_pb2.UploadResponse(upload_id=first.upload_id, sha256=digest, complete=True)
        return artifact_service_pb2.UploadResponse(upload_id=first.upload_id, size_bytes=len(part))

    def Upload(self, requests, context):
        upload_id = f"upload{len(self.daemon.uploads)}"
        lock = threading.Lock()

        def end() -> None:
            with lock:
                if context._state.client == "cancelled":
                    self.daemon.uploads.pop(upload_id, None)

        context.add_callback(end)
        first = next(requests)
        if first.upload_id:
            return self._go_on(first, requests, context)
        data = first.data + b"".join(request.data for request in requests)
        with lock:
            # gRPC ends the messages of a client that hung up as if it had sent all, and tells of it a moment later.
            if context._state.client != "cancelled":
                self.daemon.uploads[upload_id] = (first.folder, data)
        digest = hashlib.sha256(data).hexdigest()
        return artifact_service_pb2.UploadResponse(upload_id=upload_id, size_bytes=len(data), sha256=digest)

    def Download(self, request, context):
        folder = request.name in self.daemon.folders
        data = make_tar(self.daemon.folders[request.name]) if folder else self.daemon.files[request.name]
        how, after = self.daemon.faults.popleft() if self.daemon.faults else ("", -1)
        self.daemon.download_offsets.append(request.offset)
        if request.version not in ("", self.daemon.version):
            fail(context, code_pb2.FAILED_PRECONDITION, "ARTIFACT_CHANGED", "it has another content")
        header = artifact_service_pb2.DownloadHeader(size_bytes=len(data), folder=folder, version=self.daemon.version)
        yield artifact_service_pb2.DownloadResponse(header=header)
        sent = data[request.offset :]
        for number, start in enumerate(range(0, len(sent), 100_000)):
            if number == after and how in {"unavailable", "silence"}:
                JobService(self.daemon)._break(how, context)
            yield artifact_service_pb2.DownloadResponse(data=sent[start : start + 100_000])
        digest = "0" * 64 if how == "damage" else hashlib.sha256(sent).hexdigest()
        whole = ("1" * 64 if how == "wrong whole" else hashlib.sha256(data).hexdigest()) if request.whole_sha256 else ""
        trailer = artifact_service_pb2.DownloadTrailer(sha256=digest, whole_sha256=whole)
        yield artifact_service_pb2.DownloadResponse(trailer=trailer)


def make_tar(files: dict[str, bytes]) -> bytes:
    """Make a tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            tar.addfile(information, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that jobctl finds through JOBCTL_ADDRESS; it is gone at teardown."""
    folder = tmp_path_factory.mktemp("d")
    for name in ("JOBCTL_TOKEN", "JOBCTL_TOKEN_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    fake = FakeDaemon(socket=folder / "s")
    monkeypatch.setenv("JOBCTL_ADDRESS", fake.address)
    fake.start()
    yield fake
    fake.close()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("jobctl")]
    assert left == []


@pytest.fixture
def make_history() -> Callable[..., list[job_pb2.Event]]:
    """How to make a job's history."""
    return make_events


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A job file with its input beside it."""
    (tmp_path / "video.mp4").write_bytes(b"moving pictures")
    path = tmp_path / "job.yaml"
    path.write_text("name: demo\n", encoding="utf-8")
    return path


def run_in_terminal(*arguments: str, interrupt_at: str = "") -> tuple[int, str]:
    """Run jobctl in a terminal of 100 by 24; press Ctrl-C when a text is there. Gives the exit code and the screen."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "jobctl", *arguments]
    process = subprocess.Popen(command, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    screen = b""
    try:
        while data := read_terminal(master):
            screen += data
            if interrupt_at and interrupt_at.encode() in screen:
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
        return process.wait(20), screen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


def read_terminal(master: int) -> bytes:
    """Read what comes; nothing when nobody is left at the other end."""
    try:
        return os.read(master, 4096)
    except OSError:  # how a terminal says so
        return b""


@pytest.fixture
def terminal() -> Callable[..., tuple[int, str]]:
    """How to run jobctl in a terminal."""
    return run_in_terminal
