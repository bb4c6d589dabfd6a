"""One installation to torment: a state directory, its daemon, and the calls of a patient client."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import processes
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc

MODULES = Path(__file__).parent / "modules"
CPUS = 4
_CHANNEL = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300))
_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""A call that ended so may or may not have been heard."""


class World:
    """A state directory and its daemon. The daemon may be killed and started from any thread."""

    def __init__(
        self, folder: Path, *, prefect_api_url: str = "", grace: float = 2.0, failpoints: Path | None = None
    ) -> None:
        """Prepare; without a url the daemon has a Prefect server of its own. `failpoints` is where a test arms some."""
        self.folder = folder
        self.state = folder / "state"
        self.ledger = folder / "ledger"
        self.socket = folder / "s"
        self.own_prefect = not prefect_api_url
        self.failpoints = failpoints
        where = f"--prefect-api-url={prefect_api_url}" if prefect_api_url else "--prefect-port=0"
        self._prefect = [where, f"--prefect-grace={grace:g}"]
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._channel = grpc.insecure_channel(f"unix:{self.socket}", options=_CHANNEL)
        self.jobs = pb_grpc.JobServiceStub(self._channel)
        self.server = pb_grpc.ServerServiceStub(self._channel)

    @property
    def log(self) -> str:
        """What the daemons have logged, all of them."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start a daemon, if none lives, and wait until it answers."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn()
            process = self._process
        deadline = time.monotonic() + 60
        while not self._answers():
            if process.poll() is not None:
                return  # killed again, or it refuses to start: whoever waits for jobs will tell
            if time.monotonic() > deadline:
                raise TimeoutError(f"the daemon of {self.folder} does not answer")
            time.sleep(0.02)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "jobd", "serve", f"--state-dir={self.state}", f"--modules={MODULES}"]
        command += [f"--listen=unix:{self.socket}", f"--capacity=cpus={CPUS}", *self._prefect]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "PREFECT_", "XDG_"))}
        env |= {"HOME": str(self.folder), "PYTHONSAFEPATH": "1"}
        if self.failpoints:
            env["JOBD_FAILPOINTS"] = str(self.failpoints)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, env=env, cwd=self.folder, stdout=log, stderr=log)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def signal_daemon(self, number: signal.Signals) -> bool:
        """Signal the daemon, if it lives; a killed one is waited for."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return False
            self._process.send_signal(number)
            if number is signal.SIGKILL:
                self._process.wait()
            return True

    @property
    def alive(self) -> bool:
        """Tell whether the daemon lives."""
        with self._lock:
            return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """Have the daemon end in peace; give its exit code."""
        assert self._process is not None
        self.signal_daemon(signal.SIGTERM)
        return self._process.wait(60)

    def close(self) -> dict[int, str]:
        """End everything that was started here, and give what should have ended by itself."""
        self._channel.close()
        if self.alive:
            self.signal_daemon(signal.SIGCONT)
            self.stop()
        deadline = time.monotonic() + 60
        while (left := processes.of_state(self.folder)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in left:
            processes.send(pid, signal.SIGKILL)
        return left

    def job_folder(self, job_id: str) -> Path:
        """Give the folder of a job."""
        return self.state / "jobs" / job_id

    # -- calls -------------------------------------------------------------------------------------------------

    def call(self, method: Callable[..., Any], request: Any, *, seconds: float = 90.0) -> Any:
        """Call until it is answered: a daemon may be away, or die before it answers. The call must bear repeating."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return method(request, timeout=10, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() not in _AGAIN or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def submit(self, document: bytes, request_id: str) -> str:
        """Submit a job, by one request_id until it is answered; give its id."""
        return str(self.call(self.jobs.Submit, pb.SubmitRequest(job_yaml=document, request_id=request_id)).job.id)

    def retry(self, job_id: str, request_id: str) -> str:
        """Retry an ended job; give the id of the new one."""
        return str(self.call(self.jobs.Retry, pb.RetryRequest(id=job_id, request_id=request_id)).job.id)

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end, until that is answered."""
        self.call(self.jobs.Cancel, pb.CancelRequest(id=job_id, reason="the schedule says so"))

    def watch(self, job_id: str, after: int) -> Iterator[Any]:
        """Follow a job from an event on; raises whatever cuts the stream."""
        return self.jobs.Watch(pb.WatchRequest(id=job_id, after_sequence=after), timeout=30, wait_for_ready=True)
