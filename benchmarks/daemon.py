"""The daemon that is measured: the installed `jobd serve` with a state directory, a socket and ports of its own."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from jobapi.v1 import job_pb2 as pb_job
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1.artifact_service_pb2_grpc import ArtifactServiceStub
from jobapi.v1.job_service_pb2_grpc import JobServiceStub, ServerServiceStub

from benchmarks import processes
from benchmarks.prefect_access import PrefectAccess, embedded
from benchmarks.run import JobRun, follow
from benchmarks.workload import Workload

BIN = Path(sys.executable).parent
_START_SECONDS, _STOP_SECONDS, _RUNNER_SECONDS = 120.0, 60.0, 10.0
_LOOK_SECONDS, _ASK_SECONDS = 0.02, 0.2
_SETTLE_SECONDS, _QUIET_SECONDS, _QUIET_SHARE = 20.0, 0.4, 0.1
_ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_FOREIGN = ("JOBD_", "JOBCTL_", "PREFECT_", "PYTHON", "XDG_")
"""Variables that would make a run on one machine unlike that on another."""


class BenchmarkError(Exception):
    """A measurement broke down; not that its figure is bad."""


def environment(home: Path) -> dict[str, str]:
    """Give the environment of everything that is measured: this one without what is meant for others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return kept | {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "XDG_CONFIG_HOME": str(home)}


@dataclass
class Daemon:
    """A running daemon, and the calls to it."""

    workload: Workload
    options: tuple[str, ...] = ()
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="jb-")))
    process: subprocess.Popen[bytes] = field(init=False)
    channel: grpc.Channel = field(init=False)
    jobs: JobServiceStub = field(init=False)
    artifacts: ArtifactServiceStub = field(init=False)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix:{self.folder}/s"

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.folder / "state"

    def start(self) -> None:
        """Start it; await_ready says when it can be used."""
        places = (f"--state-dir={self.state}", f"--modules={self.workload.modules}", f"--listen={self.address}")
        options = ("--capacity=cpus=2,gate=1", "--prefect-port=0", "--log-format=json", *self.options)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "jobd", "serve", *places, *options],
                env=environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self.channel = grpc.insecure_channel(self.address, options=_ANY_SIZE)
        self.jobs, self.artifacts = JobServiceStub(self.channel), ArtifactServiceStub(self.channel)

    def await_ready(self) -> None:
        """Wait until it answers and so does its Prefect server."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise BenchmarkError(f"jobd ended with {self.process.returncode}: {self.log()}")
            with contextlib.suppress(grpc.RpcError):
                if self.info().prefect_status == "ready":
                    return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"jobd was not ready within {_START_SECONDS:g} s: {self.log()}")
            time.sleep(_ASK_SECONDS)

    def settle(self) -> None:
        """Wait until it and its Prefect server have done what the work before has left them to do, within a bound."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            before = processes.cpu_seconds(processes.tree(self.process.pid))
            time.sleep(_QUIET_SECONDS)
            spent = processes.cpu_seconds(processes.tree(self.process.pid)) - before
            if spent < _QUIET_SHARE * _QUIET_SECONDS:
                return

    def stop(self) -> None:
        """Ask it to end, and wait; its runners go on."""
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            processes.kill_tree(self.process.pid)
            raise BenchmarkError(f"the daemon did not end within {_STOP_SECONDS:g} s: {self.log()}") from None

    def close(self) -> None:
        """End it and whatever it has started, and remove its folder."""
        started = processes.tree(self.process.pid)
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            self._await_runners()
            for pid in started[1:]:
                if str(self.folder) in processes.command(pid):
                    processes.kill_tree(pid)
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Give the end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def info(self) -> pb.GetServerInfoResponse:
        """Ask it about itself."""
        return ServerServiceStub(self.channel).GetServerInfo(pb.GetServerInfoRequest())

    @property
    def prefect(self) -> PrefectAccess:
        """How to reach its own Prefect server."""
        return embedded(f"{self.info().dashboard_url}/api", self.state)

    @property
    def prefect_pid(self) -> int | None:
        """The process of its own Prefect server."""
        return processes.find_child(self.process.pid, "prefect_child")

    def own_processes(self) -> list[int]:
        """List the daemon and everything below it but the Prefect server."""
        return processes.tree(self.process.pid, without=self.prefect_pid)

    def submit(self, document: bytes, inputs: Sequence[pb.JobInput] = ()) -> str:
        """Submit a job file; give the job's id."""
        return str(self.jobs.Submit(pb.SubmitRequest(job_yaml=document, inputs=inputs)).job.id)

    def run(self, document: bytes, inputs: Sequence[pb.JobInput] = ()) -> JobRun:
        """Submit a job and follow it to its end; BenchmarkError when it did not succeed."""
        begun = time.time()
        answer = self.jobs.Submit(pb.SubmitRequest(job_yaml=document, inputs=inputs))
        answered = time.time()
        run = follow(self.channel, answer.job.id, begun, answered)
        if run.end != "job_succeeded":
            raise BenchmarkError(f"the job {run.id} ended with {run.end}: {run.failure}")
        return run

    def clear(self) -> None:
        """Cancel all jobs that have not ended, and wait until they have."""
        open_states = (pb_job.JOB_STATE_QUEUED, pb_job.JOB_STATE_RUNNING, pb_job.JOB_STATE_CANCELLING)
        while found := self.jobs.List(pb.ListRequest(page_size=1000, states=open_states)).jobs:
            for each in found:
                self.jobs.Cancel(pb.CancelRequest(id=each.id, reason="it was only there to be measured"))
            time.sleep(_LOOK_SECONDS)

    def copy_input(self) -> list[pb.JobInput]:
        """Give the input of the copying jobs."""
        return [pb.JobInput(param_name="input", path=str(self.workload.input))]

    def printed(self, job_id: str) -> bytes:
        """Give what the entries of a job have printed."""
        return b"".join(piece.data for piece in self.jobs.Logs(pb.LogsRequest(id=job_id)))

    def runner(self, job_id: str) -> int:
        """Give the process that runs a job; 0 before there is one."""
        with contextlib.suppress(OSError, IndexError):
            return int((self.state / "jobs" / job_id / "runner.lock").read_text().split()[0])
        return 0

    def _await_runners(self) -> None:
        """Wait until no runner holds its lock; kill those that take too long, as they may wait for the daemon."""
        deadline = time.monotonic() + _RUNNER_SECONDS
        for lock in self.state.glob("jobs/*/runner.lock"):
            while _is_locked(lock):
                if time.monotonic() > deadline:
                    processes.kill_tree(int(lock.read_text().split()[0]))
                time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def serving(workload: Workload, *options: str) -> Iterator[Daemon]:
    """Give a daemon that is ready, and end it."""
    daemon = Daemon(workload, options)
    daemon.start()
    try:
        daemon.await_ready()
        yield daemon
    finally:
        daemon.close()


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
