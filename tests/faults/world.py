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
from disk import Disk
from jobapi.v1 import job_service_pb2 as pb
from jobapi.v1 import job_service_pb2_grpc as pb_grpc
from prefect_proxy import PrefectProxy
from reboot import Machine

MODULES = Path(__file__).parent / "modules"
CPUS = 4
CANARY = "SUITE_SECRET"
CANARY_VALUE = "canary-0451-must-not-be-seen"
"""A variable of the daemon's that no module may see and nothing may write down."""
START_SECONDS = 180.0
"""A daemon on a machine that has much else to do may take so long to answer."""
_CHANNEL = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300))
_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""A call that ended so may or may not have been heard."""


class World:
    """A state directory and its daemon. The daemon may be killed and started from any thread."""

    def __init__(
        self,
        folder: Path,
        *,
        prefect_api_url: str = "",
        grace: float = 2.0,
        failpoints: Path | None = None,
        small_disk: bool = False,
        cpus: int = CPUS,
    ) -> None:
        """Prepare; without a url the daemon has a Prefect server of its own. `failpoints` is where a test arms some.

        Prefect is reached by way of `proxy`, which may break. With `small_disk` the state is on a `disk` of its own.
        """
        self.folder = folder
        self.state = folder / "state"
        self.ledger = folder / "ledger"
        self.socket = folder / "s"
        self.own_prefect = not prefect_api_url
        self.failpoints = failpoints
        self.accepted: set[str] = set()
        """Every job whose submit or retry was answered."""
        self.filled: list[float] = []
        """When the disk was filled, in seconds since the epoch."""
        self._cpus = cpus
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        self.machine = self._stack.enter_context(Machine(folder, self.state))
        self.proxy = self._stack.enter_context(PrefectProxy(prefect_api_url)) if prefect_api_url else None
        self.disk = Disk(self.state) if small_disk else None
        if self.disk:
            self.disk.mount()
            self._stack.callback(self.disk.unmount)
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
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None:
                return  # killed again, or it refuses to start: whoever waits for jobs will tell
            if time.monotonic() > deadline:
                raise TimeoutError(f"the daemon of {self.folder} does not answer")
            time.sleep(0.02)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        prefect = f"--prefect-api-url={self.proxy.api_url}" if self.proxy else "--prefect-port=0"
        command = [*self.machine.prefix, sys.executable, "-m", "jobd", "serve", f"--state-dir={self.state}"]
        command += [f"--modules={MODULES}", f"--listen=unix:{self.socket}", f"--capacity=cpus={self._cpus}"]
        command += [prefect, f"--prefect-grace={self._grace:g}"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, env=self.environment(), cwd=self.folder, stdout=log, stderr=log)

    def environment(self) -> dict[str, str]:
        """Give the environment of a daemon, without settings of whoever runs the suite."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JOBD_", "PREFECT_", "XDG_"))}
        points = {"JOBD_FAILPOINTS": str(self.failpoints)} if self.failpoints else {}
        return env | {"HOME": str(self.folder), "PYTHONSAFEPATH": "1", CANARY: CANARY_VALUE} | points

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

    def reboot(self, *, read_only: bool = False) -> list[str]:
        """End everything at once as a power cut does, and come up again; give what is wrong.

        With `read_only`, the disk first comes up so, as after an error, and the daemon must refuse to start.
        """
        with self._lock:
            if self._process is not None:
                self._process.kill()
            self.machine.cut_power()
            if self._process is not None:
                self._process.wait()
            self.socket.unlink(missing_ok=True)
            self._process = None
            wrong = self._try_read_only() if read_only and self.disk else []
        self.start()
        return wrong

    def _try_read_only(self) -> list[str]:
        """See that a daemon on a disk that cannot be written says so and ends."""
        assert self.disk is not None
        offset = len(self.log)
        with self.disk.read_only():
            refused = self._spawn()
            try:
                code = refused.wait(60)
            except subprocess.TimeoutExpired:
                refused.kill()
                code = refused.wait()
        said = self.log[offset:]
        if code > 0 and "read-only" in said.lower() and "Traceback" not in said:
            return []
        return [f"on a read-only disk the daemon ended with {code} and said {said[-500:]!r}"]

    def start_second(self) -> list[str]:
        """Start two more daemons at once on the same state; give what is wrong unless just one is left at the end."""
        with self._lock:
            living = [] if self._process is None or self._process.poll() is not None else [self._process]
            served = bool(living) and self._answers()
            racers = living + [self._spawn() for _ in range(2)]
            deadline = time.monotonic() + 60
            while sum(racer.poll() is None for racer in racers) > 1 and time.monotonic() < deadline:
                for racer in racers:  # another schedule may have stopped one, and waits for this lock to wake it
                    racer.send_signal(signal.SIGCONT)
                time.sleep(0.05)
            left = [racer for racer in racers if racer.poll() is None]
            self._process = left[0] if left else self._process
            codes = [racer.returncode for racer in racers if racer not in left]
        wrong = [f"I11 {len(left)} of {len(racers)} daemons serve one state directory"] if len(left) != 1 else []
        if served and left and left[0] is not living[0]:
            wrong.append("I11 a daemon that served was driven out by another")
        return wrong + [f"I11 a second daemon ended with {code}" for code in codes if code in (0, -signal.SIGKILL)]

    @property
    def pid(self) -> int:
        """The number of the daemon's process."""
        assert self._process is not None
        return self._process.pid

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
        if self.machine.bystander_harmed:
            left[0] = "(a bystander whose number stood in the state directory was killed)"
        self._stack.close()
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
                full = self.disk is not None and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                if not (full or error.code() in _AGAIN) or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def submit(self, document: bytes, request_id: str) -> str:
        """Submit a job, by one request_id until it is answered; give its id."""
        request = pb.SubmitRequest(job_yaml=document, request_id=request_id)
        return self._note(self.call(self.jobs.Submit, request))

    def retry(self, job_id: str, request_id: str) -> str:
        """Retry an ended job; give the id of the new one."""
        return self._note(self.call(self.jobs.Retry, pb.RetryRequest(id=job_id, request_id=request_id)))

    def _note(self, answer: Any) -> str:
        self.accepted.add(str(answer.job.id))
        return str(answer.job.id)

    def cancel(self, job_id: str) -> None:
        """Ask for a job's end, until that is answered."""
        self.call(self.jobs.Cancel, pb.CancelRequest(id=job_id, reason="the schedule says so"))

    def watch(self, job_id: str, after: int) -> Iterator[Any]:
        """Follow a job from an event on; raises whatever cuts the stream."""
        return self.jobs.Watch(pb.WatchRequest(id=job_id, after_sequence=after), timeout=30, wait_for_ready=True)
